/* Unit tests of resizing and cropping, against torchvision on Pillow pictures
 * (tests/golden/make_picture_golden.py). */
#include "data_support.h"

#include "data/picture.h"
#include "data/resize.h"

static void compare(struct ddpm_resizer *resizer, const char *name, int channels, int height,
                    int width)
{
    struct ddpm_picture picture = {0};
    struct ddpm_placement place;
    struct ddpm_npy golden;
    char path[200];
    snprintf(path, sizeof path, GOLDEN "/resize-%s.png", name);
    assert_ok(ddpm_picture_load(&picture, path, channels, 0));
    snprintf(path, sizeof path, GOLDEN "/resize-%s-%dx%d.npy", name, height, width);
    assert_ok(ddpm_npy_open(&golden, path));
    size_t bytes = (size_t)height * (size_t)width * (size_t)channels;
    assert_int_equal(golden.bytes, bytes);
    uint8_t *out = malloc(bytes);
    assert_ok(ddpm_placement_choose(&place, picture.height, picture.width, height, width,
                                    DDPM_CROP_CENTRE, NULL));
    assert_ok(ddpm_resize_crop(resizer, picture.pixels, picture.height, picture.width, channels,
                               &place, height, width, out));
    assert_memory_equal(out, golden.data, bytes);
    free(out);
    ddpm_npy_close(&golden);
    ddpm_picture_free(&picture);
}

static void resizing_is_that_of_pillow_bit_for_bit(void **state)
{
    (void)state;
    static const int sizes[][2] = {{16, 16}, {33, 33}, {60, 60}, {12, 40}, {40, 12}, {47, 47}};
    struct ddpm_resizer resizer = {0}; /* reused for all, as in a run with pictures of many sizes */
    for (int i = 0; i < 6; ++i)
        compare(&resizer, "rgb", 3, sizes[i][0], sizes[i][1]);
    for (int i = 0; i < 3; ++i) {
        compare(&resizer, "grey", 1, sizes[i][0], sizes[i][1]);
        compare(&resizer, "rgba", 4, sizes[i][0], sizes[i][1]);
    }
    compare(&resizer, "tall", 3, 33, 33); /* columns first */
    ddpm_resizer_free(&resizer);
}

static void check_place(int height, int width, int target_height, int target_width, int new_height,
                        int new_width, int top, int left)
{
    struct ddpm_placement place;
    assert_ok(ddpm_placement_choose(&place, height, width, target_height, target_width,
                                    DDPM_CROP_CENTRE, NULL));
    assert_int_equal(place.height, new_height);
    assert_int_equal(place.width, new_width);
    assert_int_equal(place.top, top);
    assert_int_equal(place.left, left);
}

static void places_are_those_of_torchvision(void **state)
{
    (void)state;
    check_place(400, 400, 128, 128, 128, 128, 0, 0);
    check_place(300, 400, 128, 128, 128, 170, 0, 21);
    check_place(400, 300, 128, 128, 170, 128, 21, 0);
    check_place(100, 101, 100, 100, 100, 101, 0, 0); /* 0.5 rounds to 0 */
    check_place(100, 103, 100, 100, 100, 103, 0, 2); /* 1.5 rounds to 2 */
    check_place(100, 105, 100, 100, 100, 105, 0, 2); /* 2.5 rounds to 2 */
    check_place(100, 100, 50, 100, 100, 100, 25, 0);
    check_place(10, 20, 64, 32, 64, 128, 0, 48);
    struct ddpm_placement place;
    assert_error(ddpm_placement_choose(&place, 1, 1 << 27, 64, 64, DDPM_CROP_CENTRE, NULL),
                 DDPM_ERROR_FORMAT, "1x134217728 is too narrow for 64x64");
}

static void random_crops_stay_inside_and_reach_every_place(void **state)
{
    (void)state;
    int seen_top[5] = {0}, seen_left[3] = {0};
    struct ddpm_placement place;
    for (uint32_t i = 0; i < 400; ++i) {
        struct ddpm_random4 random = ddpm_philox(1, 0, i, 0, DDPM_STREAM_AUGMENT);
        assert_ok(ddpm_placement_choose(&place, 20, 10, 16, 8, DDPM_CROP_RANDOM, &random));
        assert_int_equal(place.height, 20); /* at its own scale */
        assert_in_range(place.top, 0, 4);
        assert_in_range(place.left, 0, 2);
        ++seen_top[place.top];
        ++seen_left[place.left];
        assert_ok(ddpm_placement_choose(&place, 20, 4, 16, 8, DDPM_CROP_RANDOM, &random));
        assert_int_equal(place.width, 8); /* too small: enlarged first */
        assert_int_equal(place.height, 40);
    }
    for (int i = 0; i < 5; ++i)
        assert_true(seen_top[i] > 40);
    for (int i = 0; i < 3; ++i)
        assert_true(seen_left[i] > 90);
}

static void flipping_mirrors(void **state)
{
    (void)state;
    uint8_t pixels[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    const uint8_t wide[] = {5, 6, 3, 4, 1, 2, 11, 12, 9, 10, 7, 8};
    ddpm_flip_horizontal(pixels, 2, 3, 2);
    assert_memory_equal(pixels, wide, sizeof wide);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resizing_is_that_of_pillow_bit_for_bit),
        cmocka_unit_test(places_are_those_of_torchvision),
        cmocka_unit_test(random_crops_stay_inside_and_reach_every_place),
        cmocka_unit_test(flipping_mirrors),
    };
    return cmocka_run_group_tests_name("data_resize", tests, NULL, NULL);
}
