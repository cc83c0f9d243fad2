/* Unit tests of src/formats/npy.h: round trips, NumPy's own headers, and invalid files. */
#include "unit/formats_support.h"

#include "formats/npy.h"

static void arrays_come_back(void **state)
{
    (void)state;
    const enum ddpm_npy_dtype dtypes[] = {DDPM_NPY_U8, DDPM_NPY_I32, DDPM_NPY_I64, DDPM_NPY_F32,
                                          DDPM_NPY_F64};
    const int64_t shape[] = {2, 3, 1, 2, 1, 1, 2, 1};
    uint8_t values[24 * 8];
    for (size_t i = 0; i < sizeof values; ++i)
        values[i] = (uint8_t)(i * 37);
    for (int k = 0; k < 5; ++k)
        for (int rank = 0; rank <= DDPM_NPY_MAX_RANK; ++rank) {
            struct ddpm_npy npy;
            assert_ok(ddpm_npy_write(at("a.npy"), dtypes[k], rank, shape, values));
            assert_ok(ddpm_npy_open(&npy, at("a.npy")));
            assert_int_equal(npy.dtype, dtypes[k]);
            assert_int_equal(npy.rank, rank);
            int64_t count = 1;
            for (int i = 0; i < rank; ++i)
                count *= shape[i];
            assert_int_equal(npy.count, count);
            assert_memory_equal(npy.shape, shape, sizeof *shape * (size_t)rank);
            assert_int_equal(npy.bytes, (size_t)count * ddpm_npy_dtype_bytes(dtypes[k]));
            assert_memory_equal(npy.data, values, npy.bytes);
            assert_int_equal((uintptr_t)npy.data % 64, 0);
            ddpm_npy_close(&npy);
            ddpm_npy_close(&npy);
        }
}

static void headers_are_numpys(void **state)
{
    (void)state;
    static const char want[] = "\x93NUMPY\x01\x00\x76\x00{'descr': '|u1', 'fortran_order': False, "
                               "'shape': (3, 2), }";
    const int64_t shape[] = {3, 2};
    char file[134];
    void *got;
    size_t bytes;
    memset(file, ' ', sizeof file);
    memcpy(file, want, sizeof want - 1);
    memcpy(file + 127, "\nabcdef", 7);
    assert_ok(ddpm_npy_write(at("h.npy"), DDPM_NPY_U8, 2, shape, "abcdef"));
    assert_file_is(at("h.npy"), file, sizeof file);
    const int64_t one[] = {6};
    assert_ok(ddpm_npy_write(at("h.npy"), DDPM_NPY_U8, 1, one, "abcdef"));
    assert_ok(ddpm_file_read_whole(&got, &bytes, at("h.npy"), 1000));
    assert_non_null(strstr((char *)got + 10, "'shape': (6,), }"));
    free(got);
}

static void items_are_appended(void **state)
{
    (void)state;
    const int64_t picture[] = {2, 2, 3};
    uint8_t pixels[24];
    struct ddpm_npy_writer *writer;
    struct ddpm_npy npy;
    for (uint8_t i = 0; i < sizeof pixels; ++i)
        pixels[i] = i;
    size_t before = scratch_count();
    assert_ok(ddpm_npy_writer_create(&writer, at("p.npy"), DDPM_NPY_U8, 3, picture));
    for (int i = 0; i < 1000; ++i)
        assert_ok(ddpm_npy_writer_append(writer, pixels + i % 2 * 12, 1));
    assert_ok(ddpm_npy_writer_append(writer, pixels, 2));
    assert_ok(ddpm_npy_writer_append(writer, pixels, 0));
    assert_error(ddpm_npy_writer_append(writer, pixels, -1), DDPM_ERROR_ARGUMENT, "-1");
    assert_false(ddpm_path_exists(at("p.npy")));
    assert_ok(ddpm_npy_writer_finish(&writer));
    assert_null(writer);
    assert_ok(ddpm_npy_open(&npy, at("p.npy")));
    assert_int_equal(npy.rank, 4);
    assert_int_equal(npy.shape[0], 1002);
    assert_int_equal(npy.shape[3], 3);
    for (int i = 0; i < 1002; ++i)
        assert_memory_equal((const uint8_t *)npy.data + i * 12, pixels + i % 2 * 12, 12);
    ddpm_npy_close(&npy);

    assert_ok(ddpm_npy_writer_create(&writer, at("q.npy"), DDPM_NPY_U8, 3, picture));
    ddpm_npy_writer_abandon(&writer);
    assert_int_equal(scratch_count(), before + 1);
    assert_ok(ddpm_npy_writer_create(&writer, at("p.npy"), DDPM_NPY_F32, 0, NULL));
    assert_ok(ddpm_npy_writer_finish(&writer));
    assert_ok(ddpm_npy_open(&npy, at("p.npy")));
    assert_int_equal(npy.count, 0);
    ddpm_npy_close(&npy);
}

/* A file of version `major` with this dict and this many bytes of values; returns its size. */
static size_t make_npy(uint8_t *out, int major, const char *dict, size_t value_bytes)
{
    size_t length = strlen(dict), prefix = major == 1 ? 10 : 12;
    memcpy(out, "\x93NUMPY", 6);
    memset(out + 6, 0, 6);
    out[6] = (uint8_t)major;
    out[8] = (uint8_t)length;
    memcpy(out + prefix, dict, length);
    memset(out + prefix + length, 1, value_bytes);
    return prefix + length + value_bytes;
}

static void strange_headers_are_understood(void **state)
{
    (void)state;
    const char *dicts[] = {
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n",
        "{'shape':(2,3),'fortran_order':False,'descr':'<f4'}",
        " { \"shape\" : ( 2L , 3L , ) , \"descr\" : \"<f4\" , \"fortran_order\" : False , } ",
    };
    for (size_t i = 0; i < sizeof dicts / sizeof *dicts; ++i)
        for (int major = 1; major <= 3; ++major) {
            uint8_t file[256];
            struct ddpm_npy npy;
            assert_ok(ddpm_npy_parse(&npy, file, make_npy(file, major, dicts[i], 24), "x"));
            assert_int_equal(npy.dtype, DDPM_NPY_F32);
            assert_int_equal(npy.count, 6);
            assert_int_equal(npy.shape[1], 3);
        }
}

static void bad_headers_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *dict;
        const char *words;
    } bad[] = {
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (6,)}", "Fortran order"},
        {"{'descr': '<f4', 'fortran_order': false, 'shape': (6,)}", "True or False"},
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (6,)}", "'>f4', want"},
        {"{'descr': '<f2', 'fortran_order': False, 'shape': (6,)}", "astype"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (6,)}", "astype"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,)}", "records"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (7,)}", "truncated"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (5,)}", "longer"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6)}", "comma"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (,)}", "dimension"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-6,)}", "dimension"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': 6}", "tuple"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,", "dimension"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,)", "comma or"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,)} x", "spaces"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775808,)}", "below 2^63"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 2)}", "2^63"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 2, 0)}", "2^63"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,6)}", "dimensions"},
        {"{'descr': '<f4', 'fortran_order': False}", "before the end"},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (6,)}", "once each"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'more': 1}", "once each"},
        {"{'descr' '<f4', 'fortran_order': False, 'shape': (6,)}", "colon"},
        {"{'descr': '<f\\x34', 'fortran_order': False, 'shape': (6,)}", "quoted"},
        {"{descr: '<f4', 'fortran_order': False, 'shape': (6,)}", "quoted"},
        {"{", "quoted"},
        {"", "dict"},
        {"[]", "dict"},
    };
    uint8_t file[512];
    struct ddpm_npy npy;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
        size_t bytes = make_npy(file, 1, bad[i].dict, 24);
        assert_error(ddpm_npy_parse(&npy, file, bytes, "x.npy"), DDPM_ERROR_FORMAT, bad[i].words);
    }
    size_t bytes = make_npy(file, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (6,)}", 24);
    file[6] = 4;
    assert_error(ddpm_npy_parse(&npy, file, bytes, "x"), DDPM_ERROR_FORMAT, "version 4.0");
    file[0] = 'N';
    assert_error(ddpm_npy_parse(&npy, file, bytes, "x"), DDPM_ERROR_FORMAT, "not a .npy");
    assert_error(ddpm_npy_open(&npy, at("none.npy")), DDPM_ERROR_IO, "none.npy");
}

/* Copies of exactly the right size, so that a sanitizer sees any read past the end. */
static ddpm_status parse_copy(const uint8_t *file, size_t bytes)
{
    uint8_t *copy = malloc(bytes ? bytes : 1);
    struct ddpm_npy npy;
    memcpy(copy, file, bytes);
    ddpm_status status = ddpm_npy_parse(&npy, copy, bytes, "copy");
    unsigned sum = 0;
    for (size_t i = 0; status == DDPM_OK && i < npy.bytes; ++i)
        sum += ((const uint8_t *)npy.data)[i];
    free(copy);
    return sum == UINT32_MAX ? DDPM_ERROR_ARGUMENT : status;
}

static void damage_never_crashes(void **state)
{
    (void)state;
    uint8_t file[256];
    for (int major = 1; major <= 3; ++major) {
        size_t bytes = make_npy(
            file, major, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }  \n", 24);
        assert_ok(parse_copy(file, bytes));
        for (size_t cut = 0; cut < bytes; ++cut)
            assert_int_equal(parse_copy(file, cut), DDPM_ERROR_FORMAT);
        for (size_t bit = 0; bit < (bytes - 24) * 8; ++bit) {
            file[bit / 8] ^= (uint8_t)(1 << bit % 8);
            (void)parse_copy(file, bytes);
            file[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        assert_ok(parse_copy(file, bytes));
    }
}

static void writing_fails_cleanly(void **state)
{
    (void)state;
    const int64_t shape[] = {1000, 1000}, negative[] = {2, -1}, huge[] = {1, INT64_MAX, 2};
    uint8_t *values = calloc(1000, 1000);
    struct ddpm_npy_writer *writer;
    assert_error(ddpm_npy_write(at("n.npy"), DDPM_NPY_U8, 2, negative, values), DDPM_ERROR_ARGUMENT,
                 "-1");
    assert_int_equal(ddpm_npy_write(at("n.npy"), DDPM_NPY_U8, 3, huge, values),
                     DDPM_ERROR_ARGUMENT);
    assert_int_equal(ddpm_npy_write(at("n.npy"), DDPM_NPY_U8, 9, shape, values),
                     DDPM_ERROR_ARGUMENT);
    assert_int_equal(ddpm_npy_write("/dev/full", DDPM_NPY_U8, 2, shape, values), DDPM_ERROR_IO);
    size_t before = scratch_count();
    limit_files(50000);
    assert_int_equal(ddpm_npy_write(at("n.npy"), DDPM_NPY_U8, 2, shape, values), DDPM_ERROR_IO);
    assert_ok(ddpm_npy_writer_create(&writer, at("n.npy"), DDPM_NPY_U8, 1, shape));
    for (int i = 0; i < 100; ++i)
        assert_ok(ddpm_npy_writer_append(writer, values, 1));
    assert_int_equal(ddpm_npy_writer_finish(&writer), DDPM_ERROR_IO);
    limit_files(RLIM_INFINITY);
    assert_null(writer);
    assert_int_equal(scratch_count(), before);
    free(values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_come_back),        cmocka_unit_test(headers_are_numpys),
        cmocka_unit_test(items_are_appended),      cmocka_unit_test(strange_headers_are_understood),
        cmocka_unit_test(bad_headers_are_refused), cmocka_unit_test(damage_never_crashes),
        cmocka_unit_test(writing_fails_cleanly),
    };
    return cmocka_run_group_tests_name("formats_npy", tests, make_scratch, remove_scratch);
}
