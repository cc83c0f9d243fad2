/* Data-parallel loops over a small pool of threads, one pool for each thread that starts loops.
 *
 * A job is a number of chunks, divided into one lane of neighbouring chunks for each thread. A
 * thread works on its own lane first, then on what is left in the others'. So it mostly works on
 * the same part of the data from one loop to the next, and finds that in its own caches. If two
 * processors share no cache, this shortens a step by a seventh (docs/scaling.md).
 *
 * One word holds the progress of a lane, {threads, end, next}. A thread that advances `next` by
 * compare-and-swap owns that chunk, and so knows that the job is still running. The caller works
 * too and returns when all chunks are done. A worker that wakes late finds nothing left, and nobody
 * waits for it. This matters when other programs compete for the processors: a descheduled worker
 * delays only its current chunk.
 *
 * Waiting threads spin for some microseconds, to bridge the gap between two kernels of a step, and
 * then sleep. */
#include "core/threads.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "core/error.h"
#include "core/text.h"

/* Helgrind does not understand atomics. A build for it (tests/threads/helgrind.supp) annotates by
 * hand what they order; in other builds these macros do nothing. */
#ifdef DDPM_HELGRIND
#include <valgrind/helgrind.h>
#define TELL_PUBLISHED(atomic) ANNOTATE_HAPPENS_BEFORE(atomic)
#define TELL_SEEN(atomic) ANNOTATE_HAPPENS_AFTER(atomic)
#define TELL_ATOMIC(atomic) VALGRIND_HG_DISABLE_CHECKING(atomic, sizeof *(atomic))
#else
#define TELL_PUBLISHED(atomic) ((void)0)
#define TELL_SEEN(atomic) ((void)0)
#define TELL_ATOMIC(atomic) ((void)0)
#endif

#define SPINS 4000 /* some 50 microseconds */
#define MAX_WORKERS 255

#define NEXT_BITS 24
#define NEXT_MASK (((uint64_t)1 << NEXT_BITS) - 1)
#define MAX_CHUNKS ((int64_t)NEXT_MASK)

struct worker {
    struct pool *pool;
    pthread_t thread;
    int number; /* 1 … */
};

enum { CACHE_LINE = 64 };

/* Threads that may take part, end, next; as long as a cache line, so that no two lanes share one.
 */
struct lane {
    atomic_uint_fast64_t progress;
    char unused[CACHE_LINE - sizeof(atomic_uint_fast64_t)];
};

struct pool {
    struct lane lanes[MAX_WORKERS + 1];
    atomic_int_fast64_t done; /* chunks of the running job */
    /* The running job; only the owner of one of its chunks may read it. */
    ddpm_range_function *function;
    void *context;
    int64_t count, grain, chunks;

    pthread_mutex_t mutex;
    pthread_cond_t work, finished;
    atomic_int sleeping; /* workers */
    atomic_bool caller_sleeps;
    bool stop;
    bool refused; /* the system refused a thread: do not try to start more */
    int workers;
    struct worker worker[MAX_WORKERS];
};

static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t pool_key;
static bool key_made;

/* A nested loop runs on one thread. */
static _Thread_local bool inside_loop;

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Inside a loop, every thread treats subnormal results and operands as zero. Each can cost a
 * hundred cycles, and tails of activations and averages of vanishing gradients are full of them.
 * Returns the state that leave_loop() restores. */
static inline unsigned enter_loop(void)
{
#if defined(__x86_64__)
    const unsigned before = __builtin_ia32_stmxcsr(), flush_to_zero = 0x8000, zero_operands = 0x40;
    __builtin_ia32_ldmxcsr(before | flush_to_zero | zero_operands);
    return before;
#elif defined(__aarch64__)
    const uint64_t flush_to_zero = 1u << 24; /* operands too */
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(before | flush_to_zero));
    return (unsigned)before;
#else
    return 0;
#endif
}

static inline void leave_loop(unsigned before)
{
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr(before);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)before));
#else
    (void)before;
#endif
}

static inline int threads_of(uint64_t progress)
{
    return (int)(progress >> (2 * NEXT_BITS));
}

static inline int64_t end_of(uint64_t progress)
{
    return (int64_t)(progress >> NEXT_BITS & NEXT_MASK);
}

static inline int64_t next_of(uint64_t progress)
{
    return (int64_t)(progress & NEXT_MASK);
}

static inline bool is_open(uint64_t progress, int number)
{
    return next_of(progress) < end_of(progress) && number < threads_of(progress);
}

/* Run a chunk that this thread owns. */
static void run_chunk(struct pool *pool, int64_t chunk, int number)
{
    const int64_t begin = chunk * pool->grain, chunks = pool->chunks;
    const int64_t end = begin + pool->grain < pool->count ? begin + pool->grain : pool->count;
    pool->function(pool->context, begin, end, number);
    TELL_PUBLISHED(&pool->done);
    if (atomic_fetch_add(&pool->done, 1) + 1 == chunks && atomic_load(&pool->caller_sleeps)) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_signal(&pool->finished);
        pthread_mutex_unlock(&pool->mutex);
    }
}

/* Work on chunks of a lane until none is left. Returns the threads of the job that it belongs to,
 * or of an earlier one. */
static int work_in(struct pool *pool, int lane, int number)
{
    atomic_uint_fast64_t *place = &pool->lanes[lane].progress;
    uint64_t progress = atomic_load_explicit(place, memory_order_acquire);
    while (is_open(progress, number)) {
        if (!atomic_compare_exchange_weak_explicit(place, &progress, progress + 1,
                                                   memory_order_acq_rel, memory_order_acquire))
            continue;
        TELL_SEEN(place);
        run_chunk(pool, next_of(progress), number);
        progress = atomic_load_explicit(place, memory_order_acquire);
    }
    return threads_of(progress);
}

/* Work on the thread's own lane, then on the others'. */
static void work_on(struct pool *pool, int number)
{
    const int threads = work_in(pool, number, number);
    for (int i = 1; i < threads; ++i)
        (void)work_in(pool, (number + i) % threads, number);
}

/* A waiting thread watches only its own lane. It turns to the others when it has finished that one.
 */
static bool has_work(struct pool *pool, int number)
{
    return is_open(atomic_load(&pool->lanes[number].progress), number);
}

static void *worker_main(void *argument)
{
    struct worker *self = argument;
    struct pool *pool = self->pool;
    inside_loop = true;
    (void)enter_loop();
    for (;;) {
        for (int spin = 0; spin < SPINS && !has_work(pool, self->number); ++spin)
            relax();
        if (!has_work(pool, self->number)) {
            pthread_mutex_lock(&pool->mutex);
            atomic_fetch_add(&pool->sleeping, 1);
            while (!has_work(pool, self->number) && !pool->stop)
                pthread_cond_wait(&pool->work, &pool->mutex);
            atomic_fetch_sub(&pool->sleeping, 1);
            bool stop = pool->stop;
            pthread_mutex_unlock(&pool->mutex);
            if (stop)
                return NULL;
        }
        work_on(pool, self->number);
    }
}

static void destroy_pool(void *argument)
{
    struct pool *pool = argument;
    pthread_mutex_lock(&pool->mutex);
    pool->stop = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    for (int i = 0; i < pool->workers; ++i)
        pthread_join(pool->worker[i].thread, NULL);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->finished);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

static void make_key(void)
{
    key_made = pthread_key_create(&pool_key, destroy_pool) == 0;
}

int ddpm_thread_start(pthread_t *thread, void *(*function)(void *), void *argument)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(thread, NULL, function, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

const char *ddpm_thread_words(int error)
{
    if (error == EAGAIN)
        return "the system grants this process no more threads; ulimit -u, pids.max of its control "
               "group and, for their stacks, ulimit -v and -s set how many";
    return ddpm_system_words(error);
}

/* Warn once for each pool: fewer threads give the same numbers, more slowly. */
static void say_refused(const struct pool *pool, int workers, int error)
{
    ddpm_log(DDPM_LOG_WARNING, "computing with %d of %d threads: %s", pool->workers + 1,
             workers + 1, ddpm_thread_words(error));
}

/* The calling thread's pool, with at least `workers` workers if the system allows. NULL if there is
 * no memory for it. */
static struct pool *find_pool(int workers)
{
    pthread_once(&key_once, make_key);
    if (!key_made)
        return NULL;
    struct pool *pool = pthread_getspecific(pool_key);
    if (!pool) {
        pool = calloc(1, sizeof *pool);
        if (!pool || pthread_setspecific(pool_key, pool) != 0) {
            free(pool);
            return NULL;
        }
        TELL_ATOMIC(&pool->lanes);
        TELL_ATOMIC(&pool->done);
        TELL_ATOMIC(&pool->sleeping);
        TELL_ATOMIC(&pool->caller_sleeps);
        pthread_mutex_init(&pool->mutex, NULL);
        pthread_cond_init(&pool->work, NULL);
        pthread_cond_init(&pool->finished, NULL);
    }
    if (pool->workers < workers && pool->workers < MAX_WORKERS && !pool->refused) {
        int error = 0;
        while (pool->workers < workers && pool->workers < MAX_WORKERS && error == 0) {
            struct worker *worker = &pool->worker[pool->workers];
            *worker = (struct worker){.pool = pool, .number = pool->workers + 1};
            error = ddpm_thread_start(&worker->thread, worker_main, worker);
            pool->workers += error == 0;
        }
        pool->refused = error != 0;
        if (pool->refused)
            say_refused(pool, workers, error);
    }
    return pool;
}

static void wait_until_done(struct pool *pool, int64_t chunks)
{
    for (int spin = 0; spin < SPINS; ++spin) {
        if (atomic_load_explicit(&pool->done, memory_order_acquire) == chunks)
            return;
        relax();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->caller_sleeps, true);
    while (atomic_load(&pool->done) != chunks)
        pthread_cond_wait(&pool->finished, &pool->mutex);
    atomic_store(&pool->caller_sleeps, false);
    pthread_mutex_unlock(&pool->mutex);
}

static void run_serial(int64_t count, int64_t grain, ddpm_range_function *function, void *context)
{
    const unsigned before = enter_loop();
    for (int64_t begin = 0; begin < count; begin += grain)
        function(context, begin, begin + grain < count ? begin + grain : count, 0);
    leave_loop(before);
}

/* Divide the job's chunks among the lanes. */
static void open_lanes(struct pool *pool, int threads)
{
    for (int i = 0; i < threads; ++i) {
        const uint64_t first = (uint64_t)(pool->chunks * i / threads);
        const uint64_t end = (uint64_t)(pool->chunks * (i + 1) / threads);
        TELL_PUBLISHED(&pool->lanes[i].progress);
        atomic_store(&pool->lanes[i].progress,
                     (uint64_t)threads << (2 * NEXT_BITS) | end << NEXT_BITS | first);
    }
}

void ddpm_parallel_for(int threads, int64_t count, int64_t grain, ddpm_range_function *function,
                       void *context)
{
    if (grain < 1)
        grain = 1;
    while ((count + grain - 1) / grain > MAX_CHUNKS)
        grain *= 2; /* depends only on count */
    const int64_t chunks = (count + grain - 1) / grain;
    if (threads > MAX_WORKERS + 1)
        threads = MAX_WORKERS + 1;
    struct pool *pool = threads > 1 && chunks > 1 && !inside_loop ? find_pool(threads - 1) : NULL;
    if (!pool) {
        run_serial(count, grain, function, context);
        return;
    }
    const unsigned before = enter_loop();
    inside_loop = true;
    pool->function = function;
    pool->context = context;
    pool->count = count;
    pool->grain = grain;
    pool->chunks = chunks;
    atomic_store_explicit(&pool->done, 0, memory_order_relaxed);
    open_lanes(pool, threads);
    if (atomic_load(&pool->sleeping) > 0) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_broadcast(&pool->work);
        pthread_mutex_unlock(&pool->mutex);
    }
    work_on(pool, 0);
    wait_until_done(pool, chunks);
    TELL_SEEN(&pool->done);
    inside_loop = false;
    leave_loop(before);
}
