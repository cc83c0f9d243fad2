/* What the parts of the program share: verbs, parsed command lines, errors, the terminal. */
#ifndef DDPM_PROGRAM_H
#define DDPM_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ddpm/config.h>
#include <ddpm/network.h>
#include <ddpm/trainer.h>

#include "core/error.h"

/* Exit codes; 128 + signal after a signal. */
enum { DDPM_EXIT_DONE, DDPM_EXIT_FAILED, DDPM_EXIT_USAGE };

/* An option of one verb, not of the library. */
struct ddpm_verb_option {
    const char *name;        /* "out" */
    char letter;             /* 'n' for -n; 0: none */
    bool required;           /* the verb requires it */
    const char *placeholder; /* "DIR"; NULL: a flag without value */
    const char *help;
};

struct ddpm_arguments;

struct ddpm_verb {
    const char *name;      /* "train" */
    const char *arguments; /* "RUN|MODEL", "" when there are none */
    int argument_count;    /* how many are wanted */
    /* With the flag --FLAG one argument may replace --out; NULL: it may not. */
    const char *argument_flag;
    const char *summary;  /* one line */
    const char *notes;    /* lines at the end of its whole help; NULL: none */
    const char *examples; /* lines, each indented by two spaces; NULL: none */
    /* Names of the options that its short help lists, NULL at the end; NULL: all. */
    const char *const *common;
    const char *needed; /* an option of the library that a new run needs; NULL: none */
    const struct ddpm_verb_option *options;
    size_t option_count;
    const char *const *settings; /* options of the library that it takes, NULL at the end */
    bool every_setting;          /* or all of them */
    bool joins;                  /* several processes that were started together share its work */
    bool prints;                 /* its result is what it prints on stdout */
    bool terse;                  /* it prints only warnings, unless told otherwise */
    ddpm_status (*run)(const struct ddpm_arguments *arguments);
};

/* The table of verbs (main.c). */
extern const struct ddpm_verb *const ddpm_verbs[];
extern const size_t ddpm_verb_count;

extern const struct ddpm_verb ddpm_verb_train, ddpm_verb_distill, ddpm_verb_ema, ddpm_verb_sample,
    ddpm_verb_evaluate, ddpm_verb_predict, ddpm_verb_noise, ddpm_verb_pack, ddpm_verb_synth,
    ddpm_verb_info, ddpm_verb_bench, ddpm_verb_completion;

/* Report a failure on stderr, with a hint for its kind; returns the exit code of that kind. */
int ddpm_report(const char *verb, ddpm_status status);

/* Set the hint for the failure that is about to be reported, instead of the one for its kind. */
void ddpm_hint(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Send the library's remarks to stderr. */
void ddpm_report_log(void);

/* Signals (signals.c): after ddpm_catch_signals() the first SIGINT, SIGTERM, SIGHUP, SIGXCPU,
 * SIGUSR1 or SIGUSR2 sets a flag and says on stderr what happens now; a second SIGINT or SIGTERM
 * ends the process at once. What was ignored at the start stays ignored. ddpm_caught_signal() is
 * the signal, or 0. */
void ddpm_catch_signals(void);
int ddpm_caught_signal(void);

/* What a signal would interrupt from now on, so that the message can say so. `step` only matters if
 * there are steps. */
enum ddpm_doing {
    DDPM_DOING_WORK,
    DDPM_DOING_STEP,
    DDPM_DOING_SAMPLES,
    DDPM_DOING_CHECKPOINT,
};
void ddpm_doing(enum ddpm_doing what, int64_t step);

/* Another process that this one works with caught a signal: treat it as if it had come here. */
void ddpm_take_signal(int number);

/* DDPM_STOPPED when a signal was caught. */
ddpm_status ddpm_check_signal(void);

/* The model that a verb's first argument names, and the options in force. */
struct ddpm_opened_model {
    struct ddpm_device *device;
    struct ddpm_network *network;
    enum ddpm_weights which;
    int64_t step; /* of a run or checkpoint; -1: not known */
};

/* Called before weights are read. An error if the options don't suit the network or the work
 * doesn't fit into memory (ddpm_check_room()). */
typedef ddpm_status ddpm_look_at_network(void *user, struct ddpm_network *declared);

/* Open a run, checkpoint or weights file for `arguments`, whose verb has the options config and
 * weights and takes settings of the group run. `look` is called before any weights are read. Close
 * it with ddpm_close_model(), even after a failure. */
ddpm_status ddpm_open_model(const struct ddpm_arguments *arguments, const char *path,
                            ddpm_look_at_network *look, void *user, struct ddpm_opened_model *out);
void ddpm_close_model(struct ddpm_opened_model *model);

/* DDPM_ERROR_MEMORY, saying how much is needed and free, if `plan` and the weights that `network`
 * still lacks do not fit on its device; if that is the host, `host` more bytes are needed. */
ddpm_status ddpm_check_room(struct ddpm_network *network, const struct ddpm_memory_plan *plan,
                            uint64_t host);

/* Does the path end this way? */
bool ddpm_ends_with(const char *path, const char *end);

/* Is there a file or folder of that name in the folder? */
bool ddpm_folder_has(const char *folder, const char *name);

/* The step of a checkpoint folder; -1 when not known. */
int64_t ddpm_step_of(const char *path);

/* The checkpoint folder that a run or checkpoint means (model/checkpoint_find.h), or the path
 * itself of a file. */
ddpm_status ddpm_settle_model(const char *path, char *out, size_t bytes);

/* Make the folder `path`; DDPM_ERROR_IO if it exists and is not empty, unless `force`. */
ddpm_status ddpm_make_output_folder(const char *path, bool force);

/* The option `name` of a configuration, an integer. */
ddpm_status ddpm_config_integer(const struct ddpm_config *config, const char *name, int64_t *out);

/* "1.5 GB". Written to `buffer`, which is returned. */
#define DDPM_TEXT_BYTES 64
const char *ddpm_bytes_text(char buffer[DDPM_TEXT_BYTES], double bytes);

/* "4.64 GB planned", with `what` for "planned"; with --verbose also what it is for. */
#define DDPM_MEMORY_TEXT_BYTES 512
const char *ddpm_memory_text(char buffer[DDPM_MEMORY_TEXT_BYTES],
                             const struct ddpm_memory_plan *memory, const char *what);

/* "1:02:03" or "02:03". */
const char *ddpm_time_text(char buffer[DDPM_TEXT_BYTES], double seconds);

/* "62,699,395". */
const char *ddpm_count_text(char buffer[DDPM_TEXT_BYTES], int64_t count);

#endif
