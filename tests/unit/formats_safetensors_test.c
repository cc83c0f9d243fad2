/* Unit tests of src/formats/safetensors.h: the reference implementation's bytes, conversions, and
 * invalid files. */
#include "unit/formats_support.h"

#include <math.h>

#include "formats/safetensors.h"

static const float floats[] = {1, 2};
static const int64_t integer = 3;
static const double real = 1.5;
static const uint16_t half = 0x3C00;
static const uint8_t bytes3[] = {0, 1, 2};

/* Six tensors in no particular order. */
static const struct ddpm_safetensors_entry six[] = {
    {"b", DDPM_SAFETENSORS_F32, 1, {2}, floats, NULL, NULL},
    {"c", DDPM_SAFETENSORS_U8, 1, {3}, bytes3, NULL, NULL},
    {"h", DDPM_SAFETENSORS_F16, 1, {1}, &half, NULL, NULL},
    {"s", DDPM_SAFETENSORS_F64, 0, {0}, &real, NULL, NULL},
    {"aa", DDPM_SAFETENSORS_F32, 2, {0, 2}, NULL, NULL, NULL},
    {"a.weight", DDPM_SAFETENSORS_I64, 1, {1}, &integer, NULL, NULL},
};

/* The file that safetensors.numpy.save_file (version 0.8) makes of them. */
static const char six_bytes[] =
    "p\x01\0\0\0\0\0\0"
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"a.weight\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]},"
    "\"s\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[8,16]},"
    "\"aa\":{\"dtype\":\"F32\",\"shape\":[0,2],\"data_offsets\":[16,16]},"
    "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[16,24]},"
    "\"h\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[24,26]},"
    "\"c\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[26,29]}} "
    "\x03\0\0\0\0\0\0\0"
    "\0\0\0\0\0\0\xf8?"
    "\0\0\x80?\0\0\0@"
    "\0<"
    "\0\x01\x02";

static void bytes_are_the_references(void **state)
{
    (void)state;
    struct ddpm_safetensors_entry turned[6];
    const struct ddpm_safetensors_text format = {"format", "pt"};
    for (int i = 0; i < 6; ++i)
        turned[i] = six[5 - i];
    assert_ok(ddpm_safetensors_write(at("s"), six, 6, NULL, 0));
    assert_file_is(at("s"), six_bytes, sizeof six_bytes - 1);
    assert_ok(ddpm_safetensors_write(at("s"), turned, 6, &format, 1));
    assert_file_is(at("s"), six_bytes, sizeof six_bytes - 1);
}

static void tensors_come_back(void **state)
{
    (void)state;
    struct ddpm_safetensors *file;
    const struct ddpm_safetensors_text texts[] = {{"step", "7"}, {"name", "W\xc3\xa4ld\"er"}};
    assert_ok(ddpm_safetensors_write(at("s"), six, 6, texts, 2));
    assert_ok(ddpm_safetensors_open(&file, at("s")));
    assert_int_equal(ddpm_safetensors_count(file), 6);
    for (int i = 0; i < 6; ++i) {
        const struct ddpm_safetensors_tensor *tensor = ddpm_safetensors_find(file, six[i].name);
        assert_non_null(tensor);
        assert_string_equal(tensor->name, six[i].name);
        assert_int_equal(tensor->dtype, six[i].dtype);
        assert_int_equal(tensor->rank, six[i].rank);
        assert_memory_equal(tensor->shape, six[i].shape, sizeof tensor->shape);
        if (six[i].data)
            assert_memory_equal(tensor->data, six[i].data, tensor->bytes);
        else
            assert_int_equal(tensor->bytes, 0);
    }
    assert_string_equal(ddpm_safetensors_at(file, 0)->name, "a.weight");
    assert_string_equal(ddpm_safetensors_at(file, 5)->name, "c");
    assert_int_equal((uintptr_t)ddpm_safetensors_at(file, 0)->data % 8, 0);
    assert_null(ddpm_safetensors_find(file, "d"));
    assert_null(ddpm_safetensors_find(file, "__metadata__"));
    assert_int_equal(ddpm_safetensors_metadata_count(file), 3);
    assert_string_equal(ddpm_safetensors_metadata(file, "format"), "pt");
    assert_string_equal(ddpm_safetensors_metadata(file, "name"), texts[1].value);
    assert_string_equal(ddpm_safetensors_metadata_at(file, 1).key, "step");
    assert_null(ddpm_safetensors_metadata(file, "none"));
    ddpm_safetensors_close(&file);
    assert_null(file);
    ddpm_safetensors_close(&file);
}

static void an_empty_file_is_whole(void **state)
{
    (void)state;
    struct ddpm_safetensors *file;
    assert_ok(ddpm_safetensors_write(at("s"), NULL, 0, NULL, 0));
    assert_ok(ddpm_safetensors_open(&file, at("s")));
    assert_int_equal(ddpm_safetensors_count(file), 0);
    assert_null(ddpm_safetensors_find(file, "x"));
    ddpm_safetensors_close(&file);
}

static ddpm_status count_up(void *context, const struct ddpm_safetensors_entry *entry,
                            struct ddpm_file *file)
{
    int64_t count = entry->shape[0] + *(const int *)context;
    for (int64_t i = 0; i < count; ++i) {
        float value = (float)i;
        DDPM_TRY(ddpm_file_write(file, &value, sizeof value));
    }
    return DDPM_OK;
}

static ddpm_status refuse(void *context, const struct ddpm_safetensors_entry *entry,
                          struct ddpm_file *file)
{
    (void)context;
    (void)file;
    return ddpm_raise(DDPM_ERROR_DEVICE, "no %s", entry->name);
}

static void values_may_be_produced(void **state)
{
    (void)state;
    enum { COUNT = 100000 };
    int extra = 0;
    struct ddpm_safetensors_entry entry = {"w",   DDPM_SAFETENSORS_F32, 1, {COUNT}, NULL, count_up,
                                           &extra};
    struct ddpm_safetensors *file;
    float *values = malloc(COUNT * sizeof *values);
    assert_ok(ddpm_safetensors_write(at("s"), &entry, 1, NULL, 0));
    size_t before = scratch_count();
    assert_ok(ddpm_safetensors_open(&file, at("s")));
    assert_ok(ddpm_safetensors_read_f32(ddpm_safetensors_find(file, "w"), values, COUNT));
    for (int i = 0; i < COUNT; ++i)
        assert_true(values[i] == (float)i);
    ddpm_safetensors_close(&file);
    for (extra = -1; extra <= 1; extra += 2)
        assert_error(ddpm_safetensors_write(at("s"), &entry, 1, NULL, 0), DDPM_ERROR_ARGUMENT,
                     "want 400000");
    entry.produce = refuse;
    assert_error(ddpm_safetensors_write(at("s"), &entry, 1, NULL, 0), DDPM_ERROR_DEVICE, "no w");
    extra = 0;
    entry.produce = count_up;
    limit_files(200000);
    assert_int_equal(ddpm_safetensors_write(at("s"), &entry, 1, NULL, 0), DDPM_ERROR_IO);
    limit_files(RLIM_INFINITY);
    assert_int_equal(scratch_count(), before);
    assert_ok(ddpm_safetensors_open(&file, at("s")));
    ddpm_safetensors_close(&file);
    free(values);
}

static void numbers_are_converted(void **state)
{
    (void)state;
    static const struct {
        uint16_t bits;
        float value;
    } halves[] = {
        {0x0000, 0.0f},     {0x3C00, 1.0f},      {0xC000, -2.0f},       {0x7BFF, 65504.0f},
        {0x0400, 0x1p-14f}, {0x0001, 0x1p-24f},  {0x83FF, -0x3FFp-24f}, {0x3555, 0.333251953125f},
        {0x7C00, INFINITY}, {0xFC00, -INFINITY},
    };
    static const uint16_t brains[] = {0x3F80, 0xC000, 0x0080, 0x7F80};
    static const double doubles[] = {0.1, -1e300, 1e-50};
    float out[16];
    int64_t whole[3];
    struct ddpm_safetensors_tensor tensor = {.name = "t", .rank = 1, .count = 1, .bytes = 2};
    tensor.dtype = DDPM_SAFETENSORS_F16;
    for (size_t i = 0; i < sizeof halves / sizeof *halves; ++i) {
        tensor.data = &halves[i].bits;
        assert_ok(ddpm_safetensors_read_f32(&tensor, out, 1));
        assert_true(out[0] == halves[i].value);
    }
    const uint16_t nan_bits = 0x7E00;
    tensor.data = &nan_bits;
    assert_ok(ddpm_safetensors_read_f32(&tensor, out, 1));
    assert_true(isnan(out[0]));
    tensor = (struct ddpm_safetensors_tensor){
        .name = "t", .dtype = DDPM_SAFETENSORS_BF16, .count = 4, .data = brains, .bytes = 8};
    assert_ok(ddpm_safetensors_read_f32(&tensor, out, 4));
    assert_true(out[0] == 1 && out[1] == -2 && out[2] == 0x1p-126f && out[3] == INFINITY);
    tensor = (struct ddpm_safetensors_tensor){
        .name = "t", .dtype = DDPM_SAFETENSORS_F64, .count = 3, .data = doubles, .bytes = 24};
    assert_ok(ddpm_safetensors_read_f32(&tensor, out, 3));
    assert_true(out[0] == 0.1f && out[1] == -INFINITY && out[2] == 0);
    assert_error(ddpm_safetensors_read_f32(&tensor, out, 4), DDPM_ERROR_MISMATCH, "got 3 values");
    assert_error(ddpm_safetensors_read_i64(&tensor, whole, 3), DDPM_ERROR_MISMATCH, "type F64");
    static const int32_t small[] = {-1, 2, 3};
    tensor = (struct ddpm_safetensors_tensor){
        .name = "t", .dtype = DDPM_SAFETENSORS_I32, .count = 3, .data = small, .bytes = 12};
    assert_ok(ddpm_safetensors_read_i64(&tensor, whole, 3));
    assert_true(whole[0] == -1 && whole[2] == 3);
    assert_error(ddpm_safetensors_read_f32(&tensor, out, 3), DDPM_ERROR_MISMATCH, "type I32");
}

/* Copies of exactly the right size, so that a sanitizer sees any read past the end; all values are
 * read. */
static ddpm_status parse_copy(const void *data, size_t bytes)
{
    uint8_t *copy = malloc(bytes ? bytes : 1);
    struct ddpm_safetensors *file;
    memcpy(copy, data, bytes);
    ddpm_status status = ddpm_safetensors_parse(&file, copy, bytes, "copy");
    for (size_t i = 0; status == DDPM_OK && i < ddpm_safetensors_count(file); ++i) {
        const struct ddpm_safetensors_tensor *tensor = ddpm_safetensors_at(file, i);
        float *values = malloc((size_t)tensor->count * sizeof *values + 1);
        (void)ddpm_safetensors_read_f32(tensor, values, tensor->count);
        free(values);
    }
    ddpm_safetensors_close(&file);
    free(copy);
    return status;
}

/* A file with this header and 8 bytes of values. */
static ddpm_status parse_header(const char *header)
{
    uint8_t file[1024] = {0};
    uint64_t length = strlen(header);
    memcpy(file, &length, 8);
    memcpy(file + 8, header, length);
    return parse_copy(file, 8 + length + 8);
}

#define T(dtype, shape, offsets)                                                                   \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void good_headers_are_taken(void **state)
{
    (void)state;
    assert_ok(parse_header("{\"a\":" T("F32", "[2]", "[0,8]") "}"));
    assert_ok(
        parse_header("{\"a\":" T("F32", "[]", "[4,8]") ",\"b\":" T("F32", "[1]", "[0,4]") "}"));
    assert_ok(parse_header("{\"z\":" T("F32", "[0]", "[8,8]") ",\"b\":" T(
        "I64", "[1]", "[0,8]") ",\"y\":" T("F32", "[3,0]", "[0,0]") "}   "));
    assert_ok(parse_header("{\"a\":" T("BOOL", "[2,2,2]", "[0,8]") ",\"__metadata__\":{}}"));
}

static void bad_headers_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        const char *words;
    } bad[] = {
        {"", "does not begin with {"},
        {" {}", "does not begin with {"},
        {"[]", "does not begin with {"},
        {"{", "not valid JSON"},
        {"{}", "want 0 for all tensors"},
        {"{\"a\":7}", "\"a\": got an integer, want an object"},
        {"{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", "\"dtype\": got nothing"},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", "\"shape\": got nothing"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", "\"data_offsets\": got nothing"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1}}", "got 4 keys"},
        {"{\"a\":" T("F32", "[2.0]", "[0,8]") "}", "got a real number as dimension 0"},
        {"{\"a\":" T("F32", "[-2]", "[0,8]") "}", "negative"},
        {"{\"a\":" T("F32", "[9223372036854775808]", "[0,8]") "}", "not valid JSON"},
        {"{\"a\":" T("F32", "[4611686018427387904,4]", "[0,8]") "}", "2^63"},
        {"{\"a\":" T("F32", "[4611686018427387904,4,0]", "[0,0]") "}", "2^63"},
        {"{\"a\":" T("F32", "[2]", "[0,9]") "}", "within the 8 bytes"},
        {"{\"a\":" T("F32", "[2]", "[8,0]") "}", "within the 8 bytes"},
        {"{\"a\":" T("F32", "[2]", "[-8,0]") "}", "within the 8 bytes"},
        {"{\"a\":" T("F32", "[2]", "[0]") "}", "two integers"},
        {"{\"a\":" T("F32", "[2]", "[0,8,8]") "}", "two integers"},
        {"{\"a\":" T("F32", "[2]", "[0,\"8\"]") "}", "two integers"},
        {"{\"a\":" T("F32", "[1]", "[0,8]") "}", "got 8 bytes, want 4"},
        {"{\"a\":" T("F32", "[1]", "[0,4]") "}", "want 4 for all tensors"},
        {"{\"a\":" T("F32", "[1]", "[4,8]") "}", "gap"},
        {"{\"a\":" T("F32", "[2]", "[0,8]") ",\"b\":" T("F32", "[1]", "[4,8]") "}", "overlap"},
        {"{\"a\":" T("F32", "[2]", "[0,8]") ",\"b\":" T("F32", "[2]", "[0,8]") "}", "overlap"},
        {"{\"a\":" T("F32", "[2]", "[0,8]") ",\"a\":" T("F32", "[2]", "[0,8]") "}", "duplicate"},
        {"{\"a\":" T("F32", "[2]", "[0,8]") ",\"__metadata__\":7}", "want an object"},
        {"{\"a\":" T("F32", "[2]", "[0,8]") ",\"__metadata__\":{\"x\":7}}", "want a string"},
        {"{\"a\xff\":" T("F32", "[2]", "[0,8]") "}", "byte 0xff"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i)
        assert_error(parse_header(bad[i].header), DDPM_ERROR_FORMAT, bad[i].words);
    assert_error(parse_header("{\"a\":" T("F8_E4M3", "[8]", "[0,8]") "}"), DDPM_ERROR_UNSUPPORTED,
                 "\"a\": got values of type F8_E4M3");
    assert_error(parse_header("{\"a\":" T("F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]") "}"),
                 DDPM_ERROR_UNSUPPORTED, "9 dimensions");
}

static void bad_lengths_are_refused(void **state)
{
    (void)state;
    struct ddpm_safetensors *file;
    uint8_t bytes[16] = {0};
    const uint64_t lengths[] = {0, 9, DDPM_SAFETENSORS_MAX_HEADER + 1, UINT64_MAX};
    for (int i = 0; i < 4; ++i) {
        memcpy(bytes, &lengths[i], 8);
        assert_error(parse_copy(bytes, 16), DDPM_ERROR_FORMAT, "header");
    }
    assert_error(ddpm_safetensors_open(&file, at("none")), DDPM_ERROR_IO, "none");
    assert_ok(ddpm_file_write_whole(at("empty"), "", 0));
    assert_error(ddpm_safetensors_open(&file, at("empty")), DDPM_ERROR_FORMAT,
                 "empty: got 0 bytes");
    assert_null(file);
}

static void damage_never_crashes(void **state)
{
    (void)state;
    uint8_t file[sizeof six_bytes - 1];
    memcpy(file, six_bytes, sizeof file);
    assert_ok(parse_copy(file, sizeof file));
    for (size_t cut = 0; cut < sizeof file; ++cut)
        assert_int_equal(parse_copy(file, cut), DDPM_ERROR_FORMAT);
    for (size_t bit = 0; bit < (sizeof file - 29) * 8; ++bit) {
        file[bit / 8] ^= (uint8_t)(1 << bit % 8);
        (void)parse_copy(file, sizeof file);
        file[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_ok(parse_copy(file, sizeof file));
}

static void bad_entries_are_refused(void **state)
{
    (void)state;
    struct ddpm_safetensors_entry entry[2] = {six[0], six[0]};
    const struct ddpm_safetensors_text twice[] = {{"k", "1"}, {"k", "2"}}, broken = {"k", "\xff"};
    const ddpm_status want = DDPM_ERROR_ARGUMENT;
    size_t before = scratch_count();
    assert_error(ddpm_safetensors_write(at("n"), entry, 2, NULL, 0), want, "\"b\" twice");
    assert_error(ddpm_safetensors_write(at("n"), entry, 1, twice, 2), want, "\"k\" twice");
    assert_error(ddpm_safetensors_write(at("n"), entry, 1, &broken, 1), want, "UTF-8");
    entry[0].name = "\xff";
    assert_error(ddpm_safetensors_write(at("n"), entry, 1, NULL, 0), want, "UTF-8");
    entry[0].name = "__metadata__";
    assert_error(ddpm_safetensors_write(at("n"), entry, 1, NULL, 0), want, "name of a tensor");
    entry[0] = six[0];
    entry[0].shape[0] = -1;
    assert_error(ddpm_safetensors_write(at("n"), entry, 1, NULL, 0), want, "got -1 as dimension 0");
    entry[0].shape[0] = INT64_MAX / 2;
    assert_error(ddpm_safetensors_write(at("n"), entry, 1, NULL, 0), want, "2^63");
    entry[0].rank = 9;
    assert_error(ddpm_safetensors_write(at("n"), entry, 1, NULL, 0), want, "rank 9");
    entry[1].data = NULL;
    assert_error(ddpm_safetensors_write(at("n"), entry + 1, 1, NULL, 0), want, "no values");
    assert_error(ddpm_safetensors_write(at("no/n"), six, 6, NULL, 0), DDPM_ERROR_IO, "no/n");
    assert_error(ddpm_safetensors_write("/dev/full", six, 6, NULL, 0), DDPM_ERROR_IO, "No space");
    assert_int_equal(scratch_count(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_the_references), cmocka_unit_test(tensors_come_back),
        cmocka_unit_test(an_empty_file_is_whole),   cmocka_unit_test(values_may_be_produced),
        cmocka_unit_test(numbers_are_converted),    cmocka_unit_test(good_headers_are_taken),
        cmocka_unit_test(bad_headers_are_refused),  cmocka_unit_test(bad_lengths_are_refused),
        cmocka_unit_test(damage_never_crashes),     cmocka_unit_test(bad_entries_are_refused),
    };
    return cmocka_run_group_tests_name("formats_safetensors", tests, make_scratch, remove_scratch);
}
