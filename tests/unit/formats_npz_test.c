/* .npz files: what is written reads back, and nothing damaged does. */
#include "formats_support.h"

#include "formats/npz.h"

#ifdef HAVE_LIBZIP

static double mean[3] = {1, -2.5, 1e300}, square[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};

static const struct ddpm_npz_array both[] = {
    {.name = "mu", .rank = 1, .shape = {3}, .values = mean},
    {.name = "sigma", .rank = 2, .shape = {3, 3}, .values = square},
};

static ddpm_status read_both(const char *path)
{
    struct ddpm_npz_array arrays[] = {{.name = "mu"}, {.name = "sigma"}};
    ddpm_status status = ddpm_npz_read(path, arrays, 2);
    if (status == DDPM_OK) {
        assert_int_equal(arrays[1].rank, 2);
        assert_int_equal(arrays[1].shape[0], 3);
        assert_memory_equal(arrays[0].values, mean, sizeof mean);
        assert_memory_equal(arrays[1].values, square, sizeof square);
    }
    assert_true((arrays[0].values != NULL) == (status == DDPM_OK));
    free(arrays[0].values);
    free(arrays[1].values);
    return status;
}

static void there_and_back(void **state)
{
    void *bytes;
    size_t size;
    (void)state;
    assert_ok(ddpm_npz_write(at("a.npz"), both, 2));
    assert_ok(read_both(at("a.npz")));
    assert_ok(ddpm_file_read_whole(&bytes, &size, at("a.npz"), 1 << 20));
    assert_ok(ddpm_npz_write(at("a.npz"), both, 2)); /* over it, with the same bytes */
    assert_file_is(at("a.npz"), bytes, size);
    free(bytes);
}

static void what_is_no_archive(void **state)
{
    struct ddpm_npz_array other = {.name = "theta"};
    (void)state;
    assert_ok(ddpm_npz_write(at("a.npz"), both, 2));
    assert_error(ddpm_npz_read(at("a.npz"), &other, 1), DDPM_ERROR_FORMAT,
                 "has no member theta.npy");
    assert_error(read_both(at("none.npz")), DDPM_ERROR_IO, "none.npz");
    assert_ok(ddpm_file_write_whole(at("text.npz"), "no archive", 10));
    assert_error(read_both(at("text.npz")), DDPM_ERROR_FORMAT, "not a .npz file");
    assert_ok(ddpm_file_write_whole(at("empty.npz"), "", 0));
    assert_error(read_both(at("empty.npz")), DDPM_ERROR_FORMAT, "empty.npz");
}

/* A file cut off anywhere, or with one byte changed, is an error, or reads the same if the byte is
 * not used. */
static void damaged(void **state)
{
    uint8_t *bytes;
    size_t size;
    (void)state;
    assert_ok(ddpm_npz_write(at("a.npz"), both, 2));
    assert_ok(ddpm_file_read_whole((void **)&bytes, &size, at("a.npz"), 1 << 20));
    for (size_t cut = 0; cut < size; cut += 7) {
        assert_ok(ddpm_file_write_whole(at("b.npz"), bytes, cut));
        assert_int_not_equal(read_both(at("b.npz")), DDPM_OK);
    }
    for (size_t place = 0; place < size; place += 3) {
        bytes[place] ^= 0x41;
        assert_ok(ddpm_file_write_whole(at("b.npz"), bytes, size));
        (void)read_both(at("b.npz"));
        bytes[place] ^= 0x41;
    }
    free(bytes);
}

static void a_full_disk(void **state)
{
    (void)state;
    const size_t before = scratch_count();
    limit_files(100);
    assert_error(ddpm_npz_write(at("full.npz"), both, 2), DDPM_ERROR_IO, "full.npz");
    limit_files(RLIM_INFINITY);
    assert_int_equal(scratch_count(), before);
}

#else

static void refused(void **state)
{
    struct ddpm_npz_array array = {.name = "mu"};
    (void)state;
    assert_error(ddpm_npz_parse("", 0, "a.npz", &array, 1), DDPM_ERROR_UNSUPPORTED, "libzip");
    assert_error(ddpm_npz_write("a.npz", &array, 1), DDPM_ERROR_UNSUPPORTED, "libzip");
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef HAVE_LIBZIP
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(what_is_no_archive),
        cmocka_unit_test(damaged),
        cmocka_unit_test(a_full_disk),
#else
        cmocka_unit_test(refused),
#endif
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
