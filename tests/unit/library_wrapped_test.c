/* Weights with the names that PyTorch's wrappers produce. */
#include "formats/safetensors.h"
#include "library_support.h"

enum { NAME_BYTES = 256, MOST = 512 };

/* A file that a test builds: copies of a network's tensors under other names. */
struct file {
    struct ddpm_safetensors_entry entries[MOST];
    char names[MOST][NAME_BYTES];
    float *values[MOST];
    size_t count;
};

static struct file file;
static char remarks[4096];

static ddpm_status produce(void *context, const struct ddpm_safetensors_entry *entry,
                           struct ddpm_file *to)
{
    size_t count = 1;
    for (int i = 0; i < entry->rank; ++i)
        count *= (size_t)entry->shape[i];
    return ddpm_file_write(to, context, count * sizeof(float));
}

static void add(const char *name, int rank, const int64_t *shape, float *values)
{
    assert_true(file.count < MOST);
    snprintf(file.names[file.count], NAME_BYTES, "%s", name);
    struct ddpm_safetensors_entry entry = {.name = file.names[file.count],
                                           .dtype = DDPM_SAFETENSORS_F32,
                                           .rank = rank,
                                           .produce = produce,
                                           .context = values};
    for (int i = 0; i < rank; ++i)
        entry.shape[i] = shape[i];
    file.values[file.count] = values;
    file.entries[file.count++] = entry;
}

/* Every parameter, renamed by a function of its name and index. */
static void add_all(const struct ddpm_network *network,
                    void (*rename)(char *out, const char *name, size_t place))
{
    for (size_t i = 0; i < ddpm_network_parameter_count(network); ++i) {
        const struct ddpm_parameter_info info = ddpm_network_parameter(network, i);
        char name[NAME_BYTES] = "";
        float *values = malloc((size_t)info.count * sizeof *values);
        assert_ok(
            ddpm_network_get(network, DDPM_WEIGHTS_MODEL, info.name, values, (size_t)info.count));
        rename(name, info.name, i);
        add(name, info.rank, info.shape, values);
    }
}

static void write_file(const char *path)
{
    assert_ok(ddpm_safetensors_write(path, file.entries, file.count, NULL, 0));
    for (size_t i = 0; i < file.count; ++i)
        free(file.values[i]);
    file.count = 0;
}

static void keep_remark(void *user, ddpm_log_level level, const char *text)
{
    (void)user;
    (void)level;
    snprintf(remarks + strlen(remarks), sizeof remarks - strlen(remarks), "%s\n", text);
}

static const char *prefix;

static void with_prefix(char *out, const char *name, size_t place)
{
    (void)place;
    snprintf(out, NAME_BYTES, "%s%s", prefix, name);
}

static const char *const prefixes[] = {
    "module.",
    "_orig_mod.",
    "module._orig_mod.",
    "_orig_mod.module.",
    "_fsdp_wrapped_module.",
    "model.",
    "ema_model.",
    "ema_model.module._orig_mod.",
    "state_dict.model.module.",
    "diffusion.denoise_fn.",
};

static void a_prefix_of_all_is_left_away(void **state)
{
    (void)state;
    char *folder = make_folder();
    const char *path = in_folder(folder, "w.safetensors");
    struct ddpm_network *from = tiny_network("seed=1");
    ddpm_set_log_callback(keep_remark, NULL);
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; ++i) {
        struct ddpm_network *to = tiny_network("seed=2");
        prefix = prefixes[i];
        add_all(from, with_prefix);
        write_file(path);
        remarks[0] = 0;
        assert_ok(ddpm_network_load(to, DDPM_WEIGHTS_MODEL, path));
        assert_same_weights(from, to, DDPM_WEIGHTS_MODEL);
        char said[128];
        snprintf(said, sizeof said, "begin with \"%s\"", prefix);
        assert_non_null(strstr(remarks, said));
        assert_null(strstr(remarks, "inside"));
        ddpm_network_destroy(&to);
    }
    ddpm_set_log_callback(NULL, NULL);
    ddpm_network_destroy(&from);
    remove_folder(folder);
}

/* FSDP around every other module, inside FSDP around the whole network. */
static void inside(char *out, const char *name, size_t place)
{
    const char *dot = place % 2 ? strchr(name, '.') : strrchr(name, '.');
    snprintf(out, NAME_BYTES, "_fsdp_wrapped_module.%.*s._fsdp_wrapped_module._orig_mod.%s",
             (int)(dot - name), name, dot + 1);
}

static void checkpointed(char *out, const char *name, size_t place)
{
    const char *dot = strchr(name, '.');
    if (place % 3 == 1)
        snprintf(out, NAME_BYTES, "%.*s._checkpoint_wrapped_module.%s", (int)(dot - name), name,
                 dot + 1);
    else
        snprintf(out, NAME_BYTES, "%s", name);
}

static void words_inside_of_names_are_left_away(void **state)
{
    (void)state;
    char *folder = make_folder();
    const char *path = in_folder(folder, "w.safetensors");
    struct ddpm_network *from = tiny_network("seed=1");
    void (*const renames[])(char *, const char *, size_t) = {inside, checkpointed};
    ddpm_set_log_callback(keep_remark, NULL);
    for (int i = 0; i < 2; ++i) {
        struct ddpm_network *to = tiny_network("seed=2");
        add_all(from, renames[i]);
        write_file(path);
        remarks[0] = 0;
        assert_ok(ddpm_network_load(to, DDPM_WEIGHTS_MODEL, path));
        assert_same_weights(from, to, DDPM_WEIGHTS_MODEL);
        assert_non_null(strstr(remarks, "inside of names"));
        ddpm_network_destroy(&to);
    }
    ddpm_set_log_callback(NULL, NULL);
    ddpm_network_destroy(&from);
    remove_folder(folder);
}

/* Counters that averaging wrappers store. */
static void counters_are_passed_over(void **state)
{
    (void)state;
    char *folder = make_folder();
    const char *path = in_folder(folder, "w.safetensors");
    const int64_t none[1] = {0};
    struct ddpm_network *from = tiny_network("seed=1"), *to = tiny_network("seed=2");
    prefix = "module.";
    add_all(from, with_prefix);
    add("n_averaged", 0, none, calloc(1, sizeof(float)));
    write_file(path);
    assert_ok(ddpm_network_load(to, DDPM_WEIGHTS_MODEL, path));
    assert_same_weights(from, to, DDPM_WEIGHTS_MODEL);
    prefix = "";
    add_all(from, with_prefix);
    add("n_averaged", 0, none, calloc(1, sizeof(float)));
    write_file(path);
    assert_error(ddpm_network_load(to, DDPM_WEIGHTS_MODEL, path), DDPM_ERROR_MISMATCH,
                 "n_averaged does not belong to this network");
    ddpm_network_destroy(&from);
    ddpm_network_destroy(&to);
    remove_folder(folder);
}

static void half(char *out, const char *name, size_t place)
{
    snprintf(out, NAME_BYTES, "%s%s", place % 2 ? "module." : "", name);
}

static void all_but_one(char *out, const char *name, size_t place)
{
    snprintf(out, NAME_BYTES, "%s%s", place == 20 ? "" : "_orig_mod.", name);
}

static void cut_inside(char *out, const char *name, size_t place)
{
    (void)place;
    snprintf(out, NAME_BYTES, "module.%s%s", name, place == 20 ? "2" : "");
}

static void what_is_not_clear_is_refused(void **state)
{
    (void)state;
    char *folder = make_folder();
    const char *path = in_folder(folder, "w.safetensors");
    const int64_t one[1] = {1};
    struct ddpm_network *from = tiny_network("seed=1"), *to = tiny_network("seed=2");
    struct ddpm_network *before = tiny_network("seed=2"), *other = tiny_network("dim=12");
    void (*const mixed[])(char *, const char *, size_t) = {half, all_but_one};
    for (int i = 0; i < 2; ++i) {
        add_all(from, mixed[i]);
        write_file(path);
        assert_error(ddpm_network_load(to, DDPM_WEIGHTS_MODEL, path), DDPM_ERROR_MISMATCH,
                     "different prefixes, such as ");
        assert_error(ddpm_network_load(to, DDPM_WEIGHTS_MODEL, path), DDPM_ERROR_MISMATCH,
                     "no prefix");
    }
    static const char *const twice[][2] = {
        {"online_model.", "ema_model."}, {"", "ema."}, {"model.", "model.module."}};
    for (int i = 0; i < 3; ++i) {
        for (int k = 0; k < 2; ++k) {
            prefix = twice[i][k];
            add_all(from, with_prefix);
        }
        write_file(path);
        assert_error(ddpm_network_load(to, DDPM_WEIGHTS_MODEL, path), DDPM_ERROR_MISMATCH,
                     "different prefixes");
        assert_error(ddpm_network_load(to, DDPM_WEIGHTS_MODEL, path), DDPM_ERROR_MISMATCH,
                     twice[i][1]);
    }
    prefix = "module.";
    add_all(from, with_prefix);
    add("betas", 1, one, calloc(1, sizeof(float)));
    write_file(path);
    assert_error(ddpm_network_load(to, DDPM_WEIGHTS_MODEL, path), DDPM_ERROR_MISMATCH,
                 "tensor betas lacks the prefix module.");
    add_all(from, cut_inside);
    write_file(path);
    assert_error(ddpm_network_load(to, DDPM_WEIGHTS_MODEL, path), DDPM_ERROR_MISMATCH,
                 "is missing; the file is for another network");
    add_all(other, with_prefix);
    write_file(path);
    assert_error(ddpm_network_load(to, DDPM_WEIGHTS_MODEL, path), DDPM_ERROR_MISMATCH,
                 "tensor module.init_conv.weight: got shape");
    assert_same_weights(to, before, DDPM_WEIGHTS_MODEL);
    ddpm_network_destroy(&from);
    ddpm_network_destroy(&to);
    ddpm_network_destroy(&before);
    ddpm_network_destroy(&other);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prefix_of_all_is_left_away),
        cmocka_unit_test(words_inside_of_names_are_left_away),
        cmocka_unit_test(counters_are_passed_over),
        cmocka_unit_test(what_is_not_clear_is_refused),
    };
    return cmocka_run_group_tests_name("library_wrapped", tests, NULL, NULL);
}
