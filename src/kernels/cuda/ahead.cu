/* Plans made ahead by threads, see ahead.cuh. */
#include "core/clock.h"
#include "kernels/cuda/ahead.cuh"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct job {
    const struct ddpm_cuda_wish *wish;
    int rank; /* order among the plans of its wish: 0 is tried first */
    char name[DDPM_CUDNN_NAME_BYTES];
    struct ddpm_cudnn_plan *plan;
    bool made;
};

struct ddpm_cuda_ahead {
    struct job *jobs; /* by rank */
    size_t count;
};

/* The threads at work. */
struct crew {
    struct ddpm_cuda_device *device;
    struct ddpm_cuda_ahead *ahead;
    pthread_mutex_t mutex; /* of `next` */
    size_t next;
    double deadline; /* for jobs of rank 1 and more */
};

struct maker {
    struct crew *crew;
    struct ddpm_cudnn *cudnn;
    int trial; /* its slot in the plan cache for the current plan */
    pthread_t thread;
};

int ddpm_cuda_plan_threads(int threads)
{
    const char *text = getenv("DDPM_CUDA_PLAN_THREADS");
    unsigned wanted = 0;
    char rest = 0;
    if (text && *text) {
        if (strspn(text, "0123456789") == strlen(text) &&
            sscanf(text, "%3u%c", &wanted, &rest) == 1 && wanted >= 1)
            return (int)min(wanted, (unsigned)DDPM_CUDA_MAKERS);
        ddpm_log(DDPM_LOG_WARNING, "DDPM_CUDA_PLAN_THREADS: got \"%s\", want 1 to %d", text,
                 DDPM_CUDA_MAKERS);
    }
    const long processors = threads > 0 ? threads : sysconf(_SC_NPROCESSORS_ONLN);
    return (int)max(1L, min(processors, (long)DDPM_CUDA_MAKERS));
}

/* ---- what to make ---- */

/* The plans that a search tries first, if cuDNN can make them. */
static void add_jobs(struct ddpm_cuda_choices *choices, const struct ddpm_cuda_wish *wish, int most,
                     struct ddpm_cuda_ahead *ahead)
{
    struct ddpm_cuda_form forms[2];
    char names[DDPM_CUDA_MOST_NAMES][DDPM_CUDNN_NAME_BYTES];
    const int form_count = ddpm_cuda_forms_of(wish->call, forms);
    int rank = 0;
    for (int f = 0; f < form_count; ++f) {
        struct ddpm_cudnn_convolution c = ddpm_cuda_cudnn_convolution(wish->call, forms[f].form);
        const int count =
            ddpm_cudnn_names(choices->cudnn, &c, DDPM_CUDA_MOST_NAMES, forms[f].compiled, names);
        for (int i = 0, taken = 0; i < count && taken < forms[f].most && rank < most; ++i) {
            if (choices->cache && ddpm_plan_cache_crashed(choices->cache, wish->key, names[i]))
                continue;
            struct job *job = &ahead->jobs[ahead->count++];
            job->wish = wish;
            job->rank = rank++;
            memcpy(job->name, names[i], sizeof job->name);
            ++taken;
        }
    }
}

static int by_rank(const void *a, const void *b)
{
    const struct job *x = (const struct job *)a, *y = (const struct job *)b;
    return x->rank != y->rank ? (x->rank < y->rank ? -1 : 1)
                              : (x->wish > y->wish) - (x->wish < y->wish);
}

/* NULL if there is nothing for threads to do. */
static struct ddpm_cuda_ahead *list_jobs(struct ddpm_cuda_choices *choices,
                                         const struct ddpm_cuda_wish *wishes, size_t count,
                                         bool measure)
{
    const int most = measure ? 2 * DDPM_CUDA_MOST_NAMES : 1;
    struct ddpm_cuda_ahead *ahead = (struct ddpm_cuda_ahead *)calloc(1, sizeof *ahead);
    if (!ahead)
        return NULL;
    ahead->jobs = (struct job *)calloc(count * (size_t)most, sizeof *ahead->jobs);
    for (size_t i = 0; i < count && ahead->jobs; ++i)
        if (!choices->cache || !ddpm_plan_cache_get(choices->cache, wishes[i].key))
            add_jobs(choices, &wishes[i], most, ahead);
    if (ahead->count < 2) {
        free(ahead->jobs);
        free(ahead);
        return NULL;
    }
    qsort(ahead->jobs, ahead->count, sizeof *ahead->jobs, by_rank);
    return ahead;
}

/* ---- making ---- */

static struct job *take_job(struct crew *crew)
{
    struct job *job = NULL;
    pthread_mutex_lock(&crew->mutex);
    if (crew->next < crew->ahead->count)
        job = &crew->ahead->jobs[crew->next];
    if (job && job->rank > 0 && ddpm_now() >= crew->deadline)
        job = NULL; /* those behind it have no time left either */
    if (job)
        ++crew->next;
    pthread_mutex_unlock(&crew->mutex);
    return job;
}

static void *make_plans(void *argument)
{
    struct maker *maker = (struct maker *)argument;
    struct crew *crew = maker->crew;
    struct ddpm_plan_cache *cache = crew->device->choices->cache;
    if (cudaSetDevice(crew->device->index) != cudaSuccess)
        return NULL;
    for (struct job *job = take_job(crew); job; job = take_job(crew)) {
        if (cache)
            ddpm_plan_cache_begin_trial(cache, maker->trial, job->wish->key, job->name);
        job->plan = ddpm_cuda_make_plan(maker->cudnn, job->wish->call, job->name);
        job->made = true;
        if (cache)
            ddpm_plan_cache_end_trial(cache, maker->trial);
    }
    return NULL;
}

/* One handle per thread, opened one after another, as NVIDIA recommends, and kept as long as the
 * device: the plans may need them. Returns how many of `wanted` there are. */
static int open_handles(struct ddpm_cuda_device *device, int wanted)
{
    struct ddpm_cuda_choices *choices = device->choices;
    if (cudaSetDevice(device->index) != cudaSuccess)
        return 0;
    while (choices->maker_count < wanted) {
        ddpm_cudnn_open(device->compute, &choices->makers[choices->maker_count]);
        if (!choices->makers[choices->maker_count])
            break;
        ++choices->maker_count;
    }
    return min(wanted, choices->maker_count);
}

/* Signals are for the other threads. Returns how many threads the system allowed. */
static int run_crew(struct crew *crew, int threads)
{
    struct maker makers[DDPM_CUDA_MAKERS];
    sigset_t all, before;
    int started = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (; started < threads; ++started) {
        struct maker *maker = &makers[started];
        maker->crew = crew;
        maker->cudnn = crew->device->choices->makers[started];
        maker->trial = 1 + started;
        if (pthread_create(&maker->thread, NULL, make_plans, maker) != 0)
            break;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    for (int i = 0; i < started; ++i)
        pthread_join(makers[i].thread, NULL);
    return started;
}

void ddpm_cuda_make_ahead(struct ddpm_cuda_device *device, const struct ddpm_cuda_wish *wishes,
                          size_t count, bool measure)
{
    struct ddpm_cuda_choices *choices = device->choices;
    const double begin = ddpm_now();
    if (choices->threads < 2)
        return;
    choices->ahead = list_jobs(choices, wishes, count, measure);
    if (!choices->ahead)
        return;
    const size_t jobs = choices->ahead->count;
    const int threads =
        open_handles(device, jobs < (size_t)choices->threads ? (int)jobs : choices->threads);
    struct crew crew = {};
    crew.device = device;
    crew.ahead = choices->ahead;
    crew.deadline = begin + choices->seconds_left / 2.0;
    if (pthread_mutex_init(&crew.mutex, NULL) != 0)
        return;
    const int started = run_crew(&crew, threads);
    pthread_mutex_destroy(&crew.mutex);
    const double seconds = ddpm_now() - begin;
    choices->seconds_left -= seconds;
    ddpm_log(DDPM_LOG_DEBUG,
             "%d threads made %zu of %zu plans for %zu kinds of convolution in %.2f s", started,
             crew.next, jobs, count, seconds);
}

void ddpm_cuda_forget_ahead(struct ddpm_cuda_choices *choices)
{
    if (choices->ahead)
        free(choices->ahead->jobs);
    free(choices->ahead);
    choices->ahead = NULL;
}

bool ddpm_cuda_made_ahead(const struct ddpm_cuda_choices *choices, const char *key,
                          const char *name, struct ddpm_cudnn_plan **plan)
{
    const struct ddpm_cuda_ahead *ahead = choices->ahead;
    for (size_t i = 0; ahead && i < ahead->count; ++i) {
        const struct job *job = &ahead->jobs[i];
        if (job->made && !strcmp(job->wish->key, key) && !strcmp(job->name, name)) {
            *plan = job->plan;
            return true;
        }
    }
    return false;
}
