/* A host program with its own locale: numbers are still read and written as in the C locale.
 * localedef makes the locales in a temporary folder. */
#include <locale.h>
#include <pthread.h>
#include <strings.h>

#include "core/text.h"
#include "data/folder.h"
#include "library_support.h"

/* glibc's newlocale() never frees its copy of LOCPATH. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:argz_add_sep\n";
}

/* Possible locales of a host: a decimal comma, a two-byte decimal point with a different thousands
 * separator, grouping by a narrow space, and a language whose small I has no dot. */
static const char *const names[] = {"de_DE", "fa_IR", "fr_FR", "tr_TR"};
enum { LOCALES = sizeof names / sizeof *names };

static char *folder; /* LOCPATH */

static bool make_locale(const char *name)
{
    char command[1024];
    snprintf(command, sizeof command, "localedef -c -i %s -f UTF-8 '%s/%s.UTF-8' >/dev/null 2>&1",
             name, folder, name);
    (void)!system(command);
    snprintf(command, sizeof command, "%s.UTF-8", name);
    const locale_t there = newlocale(LC_ALL_MASK, command, (locale_t)0);
    if (there)
        freelocale(there);
    return there != (locale_t)0;
}

static int make_locales(void **state)
{
    (void)state;
    folder = make_folder();
    setenv("LOCPATH", folder, 1);
    for (int i = 0; i < LOCALES; ++i)
        if (!make_locale(names[i]))
            print_message("locale %s cannot be made here\n", names[i]);
    return 0;
}

static int remove_locales(void **state)
{
    (void)state;
    setlocale(LC_ALL, "C");
    remove_folder(folder);
    return 0;
}

/* Set the locale for the whole process. */
static bool choose(const char *name)
{
    char full[64];
    snprintf(full, sizeof full, "%s.UTF-8", name);
    return setlocale(LC_ALL, full) != NULL;
}

static void options_come_back(void)
{
    static const char *const pairs[][2] = {
        {"lr", "0.00025"},         {"beta2", "0.98999999999999999"},
        {"sigmoid-start", "-2.5"}, {"theta", "1234567.5"},
        {"eps", "1e-09"},          {"seed", "1234567890123"},
    };
    struct ddpm_config *config = tiny_config(NULL);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; ++i) {
        char text[64];
        assert_ok(ddpm_config_set(config, pairs[i][0], pairs[i][1]));
        assert_ok(ddpm_config_get(config, pairs[i][0], text, sizeof text));
        if (i != 1)
            assert_string_equal(text, pairs[i][1]);
        assert_ok(ddpm_config_set(config, pairs[i][0], text));
    }
    assert_error(ddpm_config_set(config, "lr", "0,5"), DDPM_ERROR_ARGUMENT, "got \"0,5\"");
    assert_error(ddpm_config_set(config, "beta1", "1.5"), DDPM_ERROR_ARGUMENT, "[0, 1)");
    assert_error(ddpm_config_set(config, "weight-decay", "1e3"), DDPM_ERROR_ARGUMENT, "[0, 100]");
    ddpm_config_destroy(&config);
}

static void files_are_c_s(const char *place)
{
    struct ddpm_config *config = tiny_config("lr=0.0125 schedule=sigmoid sigmoid-tau=0.3"), *read;
    const char *path = in_folder(place, "config.json");
    char text[8192] = "";
    assert_ok(ddpm_config_write(config, path));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_true(fread(text, 1, sizeof text - 1, file) > 0);
    fclose(file);
    assert_non_null(strstr(text, "\"train_lr\": 0.0125"));
    assert_non_null(strstr(text, "\"tau\": 0.3"));
    assert_ok(ddpm_config_create(&read));
    assert_ok(ddpm_config_read(read, path));
    char value[64];
    assert_ok(ddpm_config_get(read, "lr", value, sizeof value));
    assert_string_equal(value, "0.0125");
    ddpm_config_destroy(&read);
    ddpm_config_destroy(&config);
}

static void errors_are_c_s(void)
{
    struct ddpm_config *config = tiny_config("timesteps=7 schedule=linear");
    assert_error(ddpm_config_check(config), DDPM_ERROR_ARGUMENT, "2.857");
    assert_null(strchr(ddpm_error_message(), '\xd9')); /* U+066B begins so */
    assert_error(ddpm_config_read(config, "/nowhere/x.json"), DDPM_ERROR_IO,
                 "No such file or directory");
    ddpm_config_destroy(&config);
}

/* Train, save and open again, like a host program. */
static void a_run_is_opened(const char *place)
{
    struct ddpm_network *network = tiny_network("lr=0.0125"), *again;
    struct ddpm_config *config = tiny_config("lr=0.0125");
    assert_ok(ddpm_network_save(network, DDPM_WEIGHTS_MODEL, in_folder(place, "w.safetensors")));
    assert_ok(
        ddpm_network_open(in_folder(place, "w.safetensors"), config, DDPM_WEIGHTS_MODEL, &again));
    assert_same_weights(network, again, DDPM_WEIGHTS_MODEL);
    ddpm_network_destroy(&again);
    ddpm_network_destroy(&network);
    ddpm_config_destroy(&config);
}

static void everything(void)
{
    char *place = make_folder();
    options_come_back();
    files_are_c_s(place);
    errors_are_c_s();
    a_run_is_opened(place);
    remove_folder(place);
}

/* The process's locale is set; it must still be set afterwards. */
static void a_process_with_a_locale(void **state)
{
    (void)state;
    int done = 0;
    for (int i = 0; i < LOCALES; ++i) {
        if (!choose(names[i]))
            continue;
        char before[32], after[32];
        snprintf(before, sizeof before, "%.1f", 0.5);
        everything();
        snprintf(after, sizeof after, "%.1f", 0.5);
        assert_string_equal(before, after);
        ++done;
    }
    setlocale(LC_ALL, "C");
    if (!done) {
        print_message("no locale can be made here: there is no localedef\n");
        skip();
    }
}

static void *work_in_locale(void *argument)
{
    const locale_t own = newlocale(LC_ALL_MASK, argument, (locale_t)0);
    if (!own)
        return NULL;
    uselocale(own);
    for (int round = 0; round < 50; ++round)
        options_come_back();
    everything();
    char text[32];
    snprintf(text, sizeof text, "%.1f", 0.5);
    const bool kept = uselocale((locale_t)0) == own;
    uselocale(LC_GLOBAL_LOCALE);
    freelocale(own);
    assert_true(kept);
    return argument;
}

/* Threads with their own locales by uselocale(), at the same time as one without. */
static void threads_with_locales(void **state)
{
    (void)state;
    pthread_t threads[2];
    void *done[2];
    assert_int_equal(pthread_create(&threads[0], NULL, work_in_locale, (void *)"de_DE.UTF-8"), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, work_in_locale, (void *)"C"), 0);
    options_come_back();
    for (int i = 0; i < 2; ++i)
        pthread_join(threads[i], &done[i]);
    assert_non_null(done[1]);
    if (!done[0]) {
        print_message("de_DE cannot be made here\n");
        skip();
    }
}

/* In Turkish the small I has no dot, so strcasecmp() finds TIFF and tiff different. */
static void names_are_folded_as_in_c(void **state)
{
    (void)state;
    const bool turkish = choose("tr_TR");
    if (turkish)
        print_message("strcasecmp(\"TIFF\", \"tiff\") here: %d\n", strcasecmp("TIFF", "tiff"));
    char *place = make_folder();
    static const char *const files[] = {"A.TIFF", "b.TIF", "C.WEBP", "d.PNG"};
    for (size_t i = 0; i < 4; ++i)
        fclose(fopen(in_folder(place, files[i]), "w"));
    struct ddpm_folder found;
    assert_ok(ddpm_folder_scan(&found, place));
    assert_int_equal(found.count, 4);
    ddpm_folder_free(&found);
    assert_true(ddpm_same_word("TIFF", "tiff"));
    assert_false(ddpm_same_word("tif", "tiff"));
    assert_false(ddpm_same_word("\xc4\xb0", "i"));
    remove_folder(place);
    setlocale(LC_ALL, "C");
    if (!turkish)
        skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_with_a_locale),
        cmocka_unit_test(threads_with_locales),
        cmocka_unit_test(names_are_folded_as_in_c),
    };
    return cmocka_run_group_tests_name("library_locale", tests, make_locales, remove_locales);
}
