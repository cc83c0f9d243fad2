/* Unit tests of recognising black, white, one-coloured and saturated pictures. */
#include "data_support.h"

#include "data/picture_kind.h"

enum { PIXELS = 1000 };

/* The value of one channel at pixel i. */
static enum ddpm_picture_kind kind_of(int channels, uint8_t (*value)(int pixel, int channel))
{
    uint8_t values[PIXELS * 4];
    for (int i = 0; i < PIXELS; ++i)
        for (int c = 0; c < channels; ++c)
            values[i * channels + c] = value(i, c);
    return ddpm_picture_kind(values, PIXELS, channels);
}

static uint8_t nothing(int pixel, int channel)
{
    (void)pixel, (void)channel;
    return 0;
}

static uint8_t dark_noise(int pixel, int channel)
{
    return (uint8_t)((pixel + channel) % 9);
}

static uint8_t black_with_ten_dots(int pixel, int channel)
{
    (void)channel;
    return pixel % 100 == 7 ? 200 : 0;
}

static uint8_t black_with_eleven_dots(int pixel, int channel)
{
    (void)channel;
    return pixel % 100 == 7 || pixel == 0 ? 200 : 0;
}

static uint8_t bright(int pixel, int channel)
{
    return (uint8_t)(247 + (pixel + channel) % 9);
}

static uint8_t tinted(int pixel, int channel)
{
    return (uint8_t)(40 * (channel + 1) + pixel % 5); /* standard deviation 1.4 */
}

static uint8_t one_channel_varies(int pixel, int channel)
{
    return (uint8_t)(channel == 1 ? 100 + pixel % 9 : 40);
}

static uint8_t two_channels_at_their_ends(int pixel, int channel)
{
    return (uint8_t)(channel == 0 ? 0 : channel == 2 ? 255 : pixel % 200 + 20);
}

static uint8_t half_at_the_ends(int pixel, int channel)
{
    return (uint8_t)(pixel % 2 ? 255 * (channel % 2) : 30 + pixel % 200);
}

static uint8_t photograph(int pixel, int channel)
{
    return (uint8_t)(channel == 3 ? 255 : (pixel * 7 + channel * 31) % 256);
}

static uint8_t black_behind_alpha(int pixel, int channel)
{
    (void)pixel;
    return channel == 3 ? 255 : 3;
}

static void pictures_are_told_apart(void **state)
{
    (void)state;
    assert_int_equal(kind_of(3, nothing), DDPM_PICTURE_BLACK);
    assert_int_equal(kind_of(1, dark_noise), DDPM_PICTURE_BLACK);
    assert_int_equal(kind_of(3, black_with_ten_dots), DDPM_PICTURE_BLACK);
    assert_int_equal(kind_of(3, black_with_eleven_dots), DDPM_PICTURE_SATURATED);
    assert_int_equal(kind_of(4, black_behind_alpha), DDPM_PICTURE_BLACK);
    assert_int_equal(kind_of(3, bright), DDPM_PICTURE_WHITE);
    assert_int_equal(kind_of(3, tinted), DDPM_PICTURE_ONE_COLOUR);
    assert_int_equal(kind_of(1, tinted), DDPM_PICTURE_ONE_COLOUR);
    assert_int_equal(kind_of(3, one_channel_varies), DDPM_PICTURE_USUAL);
    assert_int_equal(kind_of(3, two_channels_at_their_ends), DDPM_PICTURE_SATURATED);
    assert_int_equal(kind_of(3, half_at_the_ends), DDPM_PICTURE_USUAL);
    assert_int_equal(kind_of(3, photograph), DDPM_PICTURE_USUAL);
    assert_int_equal(kind_of(4, photograph), DDPM_PICTURE_USUAL);
    assert_int_equal(kind_of(1, photograph), DDPM_PICTURE_USUAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pictures_are_told_apart)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
