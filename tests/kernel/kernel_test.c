/* Every kernel of a backend, compared with the reference on the same values in fp64:
 *
 *     test_kernel [--backend cpu] [--level generic|avx2|avx512|avx512bf16|amx|neon|neonbf16]
 *                 [--threads 1,2] [--direct] [--dtype fp32|bf16] [--op NAME] [--kernel NAME]
 *                 [--every N] [--bench] [--verbose]
 *
 * --every runs one case in N, to try out what runs this program. One cmocka test per operation;
 * with --kernel it fails unless that kernel served a case. Exit 77 (skipped) if the machine has no
 * such device or level. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernel_case.h"

enum { EXIT_SKIPPED = 77, MAX_DEVICES = 4, MAX_KERNELS = 8, FAILURES_SHOWN = 12 };

static struct {
    const char *backend, *op, *kernel;
    struct ddpm_device_options device;
    int threads[MAX_DEVICES], thread_counts, every;
    enum ddpm_dtype dtype;
    bool bench, verbose;
} options = {.backend = "cpu", .threads = {0}, .thread_counts = 1, .every = 1, .dtype = DDPM_F32};

static struct ddpm_device *devices[MAX_DEVICES], *reference;
static int device_count;

/* The results of one operation's test. */
struct tally {
    int cases, failures, unsupported;
    const char *kernels[MAX_KERNELS];
};

static void note_kernel(struct tally *tally, const char *name)
{
    for (int i = 0; i < MAX_KERNELS; ++i) {
        if (tally->kernels[i] && !strcmp(tally->kernels[i], name))
            return;
        if (!tally->kernels[i]) {
            tally->kernels[i] = name;
            return;
        }
    }
}

static void run_on(struct case_state *state, struct ddpm_device *device, struct tally *tally)
{
    struct device_case run;
    const char *name = "no kernel";
    ddpm_status status = device_case_open(&run, state, device);
    if (run.call.kernel) {
        name = run.call.kernel->name;
        note_kernel(tally, name);
    } else if (options.dtype == DDPM_BF16) {
        ++tally->unsupported; /* not every backend has every kernel in bf16 */
        device_case_close(&run);
        return;
    }
    if (status == DDPM_OK)
        status = device_case_load(&run, state);
    if (status == DDPM_OK)
        status = device_case_run(&run);
    if (status == DDPM_OK)
        status = device_case_fetch(&run, state);
    ++tally->cases;
    char text[200];
    case_describe(&state->test, text, sizeof text);
    if (options.verbose)
        print_message("%s | %s\n", text, name);
    if (status != DDPM_OK)
        snprintf(state->failure, sizeof state->failure, "%s", ddpm_error_message());
    if ((status != DDPM_OK || !case_agrees(state)) && ++tally->failures <= FAILURES_SHOWN)
        print_error("%s\n    %s, %s\n    %s\n", text, name, device->description, state->failure);
    device_case_close(&run);
}

static void operation_agrees_with_reference(void **argument)
{
    const enum ddpm_op op = *(const enum ddpm_op *)*argument;
    struct tally tally = {0};
    struct kernel_case test;
    if (!case_op_has_dtype(op, options.dtype))
        skip();
    for (int cursor = 0, i = 0; case_next(op, options.dtype, &cursor, &test); ++i) {
        struct case_state state;
        if (i % options.every)
            continue;
        assert_int_equal(case_open(&state, &test, reference), DDPM_OK);
        for (int d = 0; d < device_count; ++d)
            run_on(&state, devices[d], &tally);
        case_close(&state);
    }
    print_message("%d runs", tally.cases);
    if (tally.unsupported)
        print_message(", %d without a kernel", tally.unsupported);
    for (int i = 0; i < MAX_KERNELS && tally.kernels[i]; ++i)
        print_message("%s %s", i ? "," : ":", tally.kernels[i]);
    print_message("\n");
    bool served = !options.kernel;
    for (int i = 0; i < MAX_KERNELS && tally.kernels[i]; ++i)
        served = served || !strcmp(tally.kernels[i], options.kernel);
    if (!served)
        fail_msg("no case was served by %s", options.kernel);
    if (tally.failures)
        fail_msg("%d of %d runs of %s disagree", tally.failures, tally.cases,
                 ddpm_op_info[op].name);
}

static int usage(const char *got)
{
    fprintf(stderr,
            "test_kernel: got \"%s\", want [--backend NAME] [--level LEVEL] [--threads N,N…] "
            "[--direct] [--dtype fp32|bf16] [--op NAME] [--kernel NAME] [--every N] [--bench] "
            "[--verbose]\n",
            got);
    return 2;
}

static bool parse_value(const char *name, const char *value)
{
    if (!strcmp(name, "--backend")) {
        options.backend = value;
    } else if (!strcmp(name, "--level")) {
        options.device.level = value;
    } else if (!strcmp(name, "--op")) {
        options.op = value;
    } else if (!strcmp(name, "--kernel")) {
        options.kernel = value;
    } else if (!strcmp(name, "--every")) {
        options.every = atoi(value);
        return options.every > 0;
    } else if (!strcmp(name, "--dtype") && (!strcmp(value, "fp32") || !strcmp(value, "bf16"))) {
        options.dtype = value[0] == 'b' ? DDPM_BF16 : DDPM_F32;
    } else if (!strcmp(name, "--threads")) {
        char *end;
        options.thread_counts = 0;
        for (const char *at = value; options.thread_counts < MAX_DEVICES; at = end + 1) {
            options.threads[options.thread_counts++] = (int)strtol(at, &end, 10);
            if (*end != ',')
                return end != at && !*end;
        }
        return false;
    } else {
        return false;
    }
    return true;
}

static int parse_options(int count, char **arguments)
{
    for (int i = 1; i < count; ++i) {
        if (!strcmp(arguments[i], "--bench"))
            options.bench = true;
        else if (!strcmp(arguments[i], "--verbose"))
            options.verbose = true;
        else if (!strcmp(arguments[i], "--direct"))
            options.device.direct = true;
        else if (i + 1 < count && parse_value(arguments[i], arguments[i + 1]))
            ++i;
        else
            return usage(arguments[i]);
    }
    return 0;
}

static ddpm_status open_devices(void)
{
    DDPM_TRY(ddpm_device_open("ref", &(struct ddpm_device_options){0}, &reference));
    for (int i = 0; i < options.thread_counts; ++i) {
        options.device.threads = options.threads[i];
        DDPM_TRY(ddpm_device_open(options.backend, &options.device, &devices[device_count]));
        print_message("%s\n", devices[device_count++]->description);
    }
    return DDPM_OK;
}

static int test_operations(void)
{
    static enum ddpm_op ops[DDPM_OP_COUNT];
    static struct CMUnitTest tests[DDPM_OP_COUNT];
    for (enum ddpm_op op = 0; op < DDPM_OP_COUNT; ++op) {
        ops[op] = op;
        tests[op] = (struct CMUnitTest){.name = ddpm_op_info[op].name,
                                        .test_func = operation_agrees_with_reference,
                                        .initial_state = &ops[op]};
    }
    if (options.op)
        cmocka_set_test_filter(options.op);
    return cmocka_run_group_tests_name("kernels", tests, NULL, NULL);
}

int main(int count, char **arguments)
{
    int result = parse_options(count, arguments);
    if (result)
        return result;
    ddpm_status status = open_devices();
    if (status != DDPM_OK) {
        fprintf(stderr, "test_kernel: %s\n", ddpm_error_message());
        result = status == DDPM_ERROR_UNSUPPORTED ? EXIT_SKIPPED : EXIT_FAILURE;
    } else if (options.bench) {
        if (case_bench(devices[0], options.dtype, options.op) != DDPM_OK) {
            fprintf(stderr, "test_kernel: %s\n", ddpm_error_message());
            result = EXIT_FAILURE;
        }
    } else {
        result = test_operations() ? EXIT_FAILURE : EXIT_SUCCESS;
    }
    while (device_count)
        ddpm_device_close(&devices[--device_count]);
    ddpm_device_close(&reference);
    return result;
}
