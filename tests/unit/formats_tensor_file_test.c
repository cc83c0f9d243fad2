/* Files of named tensors: files written by torch.save and safetensors (tests/golden/data/torch,
 * made by tests/golden/make_torch_files.py), and invalid ones. */
#include "formats_support.h"

#include "formats/tensor_file.h"

#define FOLDER "tests/golden/data/torch/"

#ifdef HAVE_LIBZIP
static const char *const forms[] = {".older.pt", ".zip.pt"};
#else
static const char *const forms[] = {".older.pt"};
#endif
enum { FORMS = sizeof forms / sizeof *forms };

static const char *in_folder(const char *name, const char *ending)
{
    static char path[256];
    snprintf(path, sizeof path, FOLDER "%s%s", name, ending);
    return path;
}

static void assert_same(const struct ddpm_tensor_entry *got, const struct ddpm_tensor_entry *want)
{
    float a[64], b[64];
    if (!got)
        fail_msg("there is no \"%s\"", want->name);
    assert_int_equal(got->dtype, want->dtype);
    assert_int_equal(got->rank, want->rank);
    assert_int_equal(got->count, want->count);
    assert_memory_equal(got->shape, want->shape, (size_t)want->rank * sizeof *want->shape);
    assert_true(want->count <= 64);
    ddpm_status status = ddpm_tensor_entry_read_f32(want, b, want->count);
    assert_int_equal(ddpm_tensor_entry_read_f32(got, a, got->count), status);
    if (status == DDPM_OK)
        assert_memory_equal(a, b, (size_t)want->count * sizeof *a);
}

/* Every tensor of one file is in the other, with the same values. */
static void the_same_tensors(void **state)
{
    (void)state;
    static const char *const names[] = {"plain", "nested"};
    for (size_t n = 0; n < 2; ++n)
        for (size_t f = 0; f < FORMS; ++f) {
            struct ddpm_tensor_file *file, *wanted;
            assert_ok(ddpm_tensor_file_open(&wanted, in_folder(names[n], ".safetensors")));
            assert_ok(ddpm_tensor_file_open(&file, in_folder(names[n], forms[f])));
            assert_int_equal(ddpm_tensor_file_count(file), ddpm_tensor_file_count(wanted));
            assert_int_equal(ddpm_tensor_file_count(file), n == 0 ? 13 : 7);
            for (size_t i = 0; i < ddpm_tensor_file_count(wanted); ++i) {
                const struct ddpm_tensor_entry *want = ddpm_tensor_file_at(wanted, i);
                assert_string_equal(ddpm_tensor_file_at(file, i)->name, want->name);
                assert_same(ddpm_tensor_file_find(file, want->name), want);
            }
            assert_null(ddpm_tensor_file_find(file, "no such tensor"));
            ddpm_tensor_file_close(&file);
            ddpm_tensor_file_close(&wanted);
        }
}

static void integers_are_no_floats(void **state)
{
    (void)state;
    struct ddpm_tensor_file *file;
    float values[2];
    assert_ok(ddpm_tensor_file_open(&file, in_folder("plain", ".older.pt")));
    const struct ddpm_tensor_entry *entry = ddpm_tensor_file_find(file, "integers");
    assert_error(ddpm_tensor_entry_read_f32(entry, values, 2), DDPM_ERROR_MISMATCH,
                 "tensor \"integers\": got values of type I32");
    entry = ddpm_tensor_file_find(file, "transposed");
    assert_error(ddpm_tensor_entry_read_f32(entry, values, 2), DDPM_ERROR_MISMATCH,
                 "got 12 values, want 2");
    ddpm_tensor_file_close(&file);
}

static void refused(const char *name, const char *ending, const char *words)
{
    struct ddpm_tensor_file *file;
    const char *path = in_folder(name, ending);
    assert_error(ddpm_tensor_file_open(&file, path), DDPM_ERROR_FORMAT, words);
    assert_non_null(strstr(ddpm_error_message(), path));
    assert_null(file);
}

/* A file may contain any call: none is made, and the error names it. */
static void nothing_is_executed(void **state)
{
    (void)state;
    for (size_t f = 0; f < FORMS; ++f)
        refused("command", forms[f], "got an object of posix.system, want only tensors");
    assert_false(ddpm_path_exists("executed"));
}

static void other_contents(void **state)
{
    (void)state;
    struct ddpm_tensor_file *file;
    for (size_t f = 0; f < FORMS; ++f)
        refused("list", forms[f], "got a list, want a dict of tensors");
#ifdef HAVE_LIBZIP
    refused("whole_module", ".zip.pt", "got an object of torch.nn.modules.container.Sequential");
    refused("big_endian", ".zip.pt", "byteorder");
    refused("no_storage", ".zip.pt", "tensor \"0.bias\": has no member nested.zip/data/1");
    refused("short_storage", ".zip.pt", "tensor \"0.bias\": its storage has 8 bytes, want 12");
    refused("packed", ".zip.pt", "is compressed or larger than the file");
    refused("../evaluation_statistics", ".npz", "got a zip file without data.pkl");
#else
    assert_error(ddpm_tensor_file_open(&file, in_folder("plain", ".zip.pt")),
                 DDPM_ERROR_UNSUPPORTED, "no libzip");
#endif
    assert_error(ddpm_tensor_file_parse(&file, "", 0, "empty"), DDPM_ERROR_FORMAT,
                 "empty: not a file of tensors");
    assert_error(ddpm_tensor_file_parse(&file, "\x80\x02N.", 4, "none"), DDPM_ERROR_FORMAT,
                 "without the head");
}

/* A pickle after the header of the older form, and no storages. */
static ddpm_status parse_after_head(const char *pickle, size_t bytes)
{
    static const char head[] = "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20j\xa8P\x19.\x80\x02M\xe9\x03."
                               "\x80\x02}X\x0d\0\0\0little_endian\x88s.";
    char data[4096];
    struct ddpm_tensor_file *file;
    const size_t length = sizeof head - 1;
    assert_true(length + bytes <= sizeof data);
    memcpy(data, head, length);
    memcpy(data + length, pickle, bytes);
    ddpm_status status = ddpm_tensor_file_parse(&file, data, length + bytes, "made");
    ddpm_tensor_file_close(&file);
    return status;
}

/* A state dict with one tensor "w" that has these opcodes for offset, shape and strides, in a
 * storage of six values. */
#define TENSOR(view)                                                                               \
    "\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\n"         \
    "FloatStorage\nX\x01\0\0\0aX\x03\0\0\0cpuK\x06tQ" view "\x89NtR"
#define VALUES "\x80\x02]X\x01\0\0\0aa.\x06\0\0\0\0\0\0\0abcdefghijklmnopqrstuvwx"
#define ONE_TENSOR(view) TENSOR(view) "s." VALUES
/* The tensor is also there under a second key. */
#define TWO_TENSORS(key) TENSOR("K\0))") "q\x01sX\x01\0\0\0" key "h\x01s." VALUES
#define TRY(view) parse_after_head(ONE_TENSOR(view), sizeof(ONE_TENSOR(view)) - 1)

static void views(void **state)
{
    (void)state;
    assert_ok(TRY("K\0K\x02K\x03\x86K\x03K\x01\x86"));
    assert_ok(TRY("K\x05))")); /* a scalar */
    assert_error(TRY("K\x06))"), DDPM_ERROR_FORMAT, "tensor \"w\": it reaches past the end");
    assert_error(TRY("K\x01K\x02K\x03\x86K\x03K\x01\x86"), DDPM_ERROR_FORMAT, "past the end");
    assert_error(TRY("J\xff\xff\xff\xff))"), DDPM_ERROR_FORMAT, "past the end");
    assert_error(TRY("K\0K\x07\x85K\0\x85"), DDPM_ERROR_FORMAT, "past the end");
    assert_error(TRY("K\0K\x02\x85)"), DDPM_ERROR_FORMAT,
                 "different numbers of strides and dimensions");
    assert_error(TRY("K\0J\xff\xff\xff\xff\x85K\0\x85"), DDPM_ERROR_FORMAT,
                 "integers of 0 or more");
    assert_error(TRY("K\0\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85"
                     "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85"),
                 DDPM_ERROR_FORMAT, "past the end");
    assert_error(TRY("K\0NN"), DDPM_ERROR_FORMAT, "not a tuple");
    assert_error(TRY("NNN"), DDPM_ERROR_FORMAT, "no offset");
}

static void names_are_different(void **state)
{
    (void)state;
    assert_ok(parse_after_head(TWO_TENSORS("v"), sizeof(TWO_TENSORS("v")) - 1));
    assert_error(parse_after_head(TWO_TENSORS("w"), sizeof(TWO_TENSORS("w")) - 1),
                 DDPM_ERROR_FORMAT, "made: got two tensors \"w\", want one");
    assert_error(parse_after_head(TWO_TENSORS("\0"), sizeof(TWO_TENSORS("\0")) - 1),
                 DDPM_ERROR_FORMAT, "a string with a 0 in it");
}

static void broken_pickles(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *words;
        size_t length;
    } cases[] = {
#define CASE(bytes, words) {bytes, words, sizeof bytes - 1}
        CASE("\x80\x04.", "protocol 4"),
        CASE("\x80\x02", "ends too early"),
        CASE("\x80\x02.", "does not end with one value"),
        CASE("\x80\x02NN.", "does not end with one value"),
        CASE("\x80\x02(N.", "does not end with one value"),
        CASE("\x80\x02\x81", "got the opcode 0x81"),
        CASE("\x80\x02N\x86", "a value is missing"),
        CASE("\x80\x02}N(NNu.", "a dict is missing"),
        CASE("\x80\x02}(Nu.", "a key without a value"),
        CASE("\x80\x02u", "a mark is missing"),
        CASE("\x80\x02(s", "a value is missing"),
        CASE("\x80\x02)\x85R", "a value is missing"),
        CASE("\x80\x02NNR", "no name"),
        CASE("\x80\x02h\x01", "an empty place"),
        CASE("\x80\x02Nr\0\0\x10\0", "beyond a million"),
        CASE("\x80\x02X\xff\xff\xff\xff", "ends too early"),
        CASE("\x80\x02"
             "ccollections\nOrderedDict\nN\x85R",
             "damaged"),
        CASE("\x80\x02"
             "ctorch\nLongStorage",
             "ends too early"),
        CASE("\x80\x02"
             "cos\n\nN",
             "got an object of os."),
        CASE("\x80\x02NQ.", "five fields"),
        CASE("\x80\x02]q\0h\0a.\x80\x02].", "got a list"), /* in itself */
        CASE("\x80\x02}X\x05\0\0\0modelh\0s.", "an empty place"),
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        ddpm_status status = parse_after_head(cases[i].bytes, cases[i].length);
        if (status != DDPM_ERROR_FORMAT || !strstr(ddpm_error_message(), cases[i].words))
            fail_msg("case %zu: got \"%s\", want \"%s\"", i, ddpm_error_message(), cases[i].words);
    }
}

/* Every truncated file, and every file with one byte changed, is either read or an error. */
static void damaged_files(void **state)
{
    (void)state;
    for (size_t f = 0; f < FORMS; ++f) {
        void *data;
        size_t bytes;
        struct ddpm_tensor_file *file;
        assert_ok(ddpm_file_read_whole(&data, &bytes, in_folder("nested", forms[f]), SIZE_MAX));
        for (size_t length = 0; length < bytes; ++length) {
            uint8_t *part = malloc(length + 1);
            memcpy(part, data, length);
            assert_int_not_equal(ddpm_tensor_file_parse(&file, part, length, "part"), DDPM_OK);
            free(part);
        }
        for (size_t i = 0; i < bytes; ++i) {
            ((uint8_t *)data)[i] ^= (uint8_t)(1 + i % 255);
            (void)ddpm_tensor_file_parse(&file, data, bytes, "changed");
            ddpm_tensor_file_close(&file);
            ((uint8_t *)data)[i] ^= (uint8_t)(1 + i % 255);
        }
        free(data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_tensors),
        cmocka_unit_test(integers_are_no_floats),
        cmocka_unit_test(nothing_is_executed),
        cmocka_unit_test(other_contents),
        cmocka_unit_test(views),
        cmocka_unit_test(names_are_different),
        cmocka_unit_test(broken_pickles),
        cmocka_unit_test(damaged_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
