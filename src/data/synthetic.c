/* Procedural aerial pictures.
 *
 * A scene is a plane in which the picture's shorter side is 1. It is drawn in layers: forest floor
 * or meadow, fields in plots with rows, clearings, a river, a track, and tree crowns on the rest:
 * one per cell of a jittered grid, each half an ellipsoid, lit by a low sun and casting a shadow.
 * Every pixel is the mean of 2 x 2 points.
 *
 * Only + - * / sqrt and integer hashes are used, so pictures do not depend on the math library. */
#include "data/synthetic.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/random.h"

enum { CLEARINGS = 3, PLOTS = 6 };

struct colour {
    float r, g, b;
};

/* A band of some width along a bent line: river, track. */
struct band {
    bool present;
    float x, y, nx, ny; /* a point of the line, its unit normal */
    float bend, frequency, half_width;
    uint32_t salt;
};

struct crown {
    float x, y, radius, lift; /* radius 0: no tree */
    struct colour colour;
};

struct scene {
    uint64_t seed;
    uint32_t index, draws;
    uint32_t salt;
    float width, height;
    float sun_x, sun_y, sun_z;

    struct colour meadow, floor, wood, wood_other, water, bank, dust;
    struct colour plots[PLOTS];
    float dryness;

    struct band river, track;
    bool field;
    float field_x, field_y, field_nx, field_ny, row_x, row_y, row_frequency, plot_width;
    int clearings;
    float clearing_x[CLEARINGS], clearing_y[CLEARINGS], clearing_radius[CLEARINGS];

    float density; /* roughly the share of land under trees */
    float cell, crown_size, pointed;
    int columns, rows;
    struct crown *crowns; /* [rows, columns], the grid starts one cell outside the picture */
};

/* ---- numbers ---- */

static float draw(struct scene *scene)
{
    struct ddpm_random4 r =
        ddpm_philox(scene->seed, scene->draws >> 2, scene->index, 0, DDPM_STREAM_SYNTHETIC);
    return ddpm_uniform(r.v[scene->draws++ & 3]);
}

static float draw_between(struct scene *scene, float low, float high)
{
    return low + (high - low) * draw(scene);
}

static void draw_direction(struct scene *scene, float *x, float *y)
{
    float length;
    do {
        *x = draw_between(scene, -1, 1);
        *y = draw_between(scene, -1, 1);
        length = sqrtf(*x * *x + *y * *y);
    } while (length < 0.1f || length > 1);
    *x /= length;
    *y /= length;
}

static float hash(int32_t x, int32_t y, uint32_t salt)
{
    uint32_t h = (uint32_t)x * 0x9E3779B1u ^ (uint32_t)y * 0x85EBCA77u ^ salt * 0xC2B2AE3Du;
    h = (h ^ h >> 15) * 0x2C1B3C6Du;
    h = (h ^ h >> 12) * 0x297A2D39u;
    h ^= h >> 15;
    return (float)(h >> 8) * (1.0f / 16777216.0f);
}

static float smooth(float t)
{
    return t * t * (3 - 2 * t);
}

/* Value noise in [0, 1]. */
static float noise(float x, float y, uint32_t salt)
{
    float fx = floorf(x), fy = floorf(y);
    int32_t ix = (int32_t)fx, iy = (int32_t)fy;
    float tx = smooth(x - fx), ty = smooth(y - fy);
    float a = hash(ix, iy, salt), b = hash(ix + 1, iy, salt);
    float c = hash(ix, iy + 1, salt), d = hash(ix + 1, iy + 1, salt);
    float top = a + (b - a) * tx, bottom = c + (d - c) * tx;
    return top + (bottom - top) * ty;
}

static float fractal(float x, float y, int octaves, uint32_t salt)
{
    float sum = 0, weight = 0.5f, total = 0;
    for (int i = 0; i < octaves; ++i, x *= 2, y *= 2, weight *= 0.5f) {
        sum += weight * noise(x, y, salt + (uint32_t)i);
        total += weight;
    }
    return sum / total;
}

static float limit(float value, float low, float high)
{
    return value < low ? low : value > high ? high : value;
}

static struct colour mix(struct colour a, struct colour b, float t)
{
    return (struct colour){a.r + (b.r - a.r) * t, a.g + (b.g - a.g) * t, a.b + (b.b - a.b) * t};
}

static struct colour scale(struct colour a, float factor)
{
    return (struct colour){a.r * factor, a.g * factor, a.b * factor};
}

/* ---- the scene ---- */

static struct band make_band(struct scene *scene, float chance, float low, float high, float bend)
{
    struct band band = {.present = draw(scene) < chance};
    band.x = draw_between(scene, 0.25f, 0.75f) * scene->width;
    band.y = draw_between(scene, 0.25f, 0.75f) * scene->height;
    draw_direction(scene, &band.nx, &band.ny);
    band.bend = bend * draw_between(scene, 0.4f, 1.0f);
    band.frequency = draw_between(scene, 1.0f, 2.2f);
    band.half_width = draw_between(scene, low, high) * 0.5f;
    band.salt = scene->salt + (uint32_t)(draw(scene) * 65536);
    return band;
}

/* Distance from the band's middle. */
static float band_distance(const struct band *band, float x, float y)
{
    float dx = x - band->x, dy = y - band->y;
    float along = dy * band->nx - dx * band->ny, across = dx * band->nx + dy * band->ny;
    float swing = noise(along * band->frequency + 40, 0.5f, band->salt) - 0.5f;
    float wiggle = noise(along * band->frequency * 3 + 90, 0.5f, band->salt + 1) - 0.5f;
    return fabsf(across + band->bend * (2 * swing + 0.5f * wiggle));
}

static void make_colours(struct scene *scene)
{
    static const struct colour woods[] = {
        {44, 74, 40}, {58, 92, 48}, {36, 62, 42}, {74, 98, 46}, {52, 84, 58}};
    static const struct colour autumn[] = {{134, 96, 46}, {150, 116, 52}, {112, 66, 40}};
    static const struct colour crops[PLOTS] = {{176, 160, 104}, {118, 142, 70},  {138, 112, 82},
                                               {154, 164, 92},  {196, 178, 122}, {92, 120, 60}};
    scene->dryness = draw(scene);
    scene->wood = woods[(int)(draw(scene) * 5)];
    scene->wood_other = woods[(int)(draw(scene) * 5)];
    if (draw(scene) < 0.12f)
        scene->wood_other = autumn[(int)(draw(scene) * 3)];
    scene->meadow =
        mix((struct colour){104, 128, 66}, (struct colour){156, 144, 92}, scene->dryness);
    scene->floor = mix((struct colour){34, 44, 28}, (struct colour){66, 58, 42}, scene->dryness);
    scene->water = mix((struct colour){38, 66, 78}, (struct colour){74, 92, 82}, draw(scene));
    scene->bank = mix((struct colour){150, 138, 106}, (struct colour){88, 98, 62}, draw(scene));
    scene->dust = mix((struct colour){186, 172, 142}, (struct colour){142, 136, 128}, draw(scene));
    int shift = (int)(draw(scene) * PLOTS);
    for (int i = 0; i < PLOTS; ++i)
        scene->plots[i] = crops[(i + shift) % PLOTS];
}

static void make_land(struct scene *scene)
{
    scene->river = make_band(scene, 0.22f, 0.07f, 0.2f, 0.35f);
    scene->track = make_band(scene, 0.26f, 0.025f, 0.05f, 0.12f);
    scene->field = draw(scene) < 0.25f;
    scene->field_x = draw_between(scene, 0.35f, 0.75f) * scene->width;
    scene->field_y = draw_between(scene, 0.35f, 0.75f) * scene->height;
    draw_direction(scene, &scene->field_nx, &scene->field_ny);
    bool rows_along = draw(scene) < 0.5f;
    scene->row_x = rows_along ? scene->field_nx : -scene->field_ny;
    scene->row_y = rows_along ? scene->field_ny : scene->field_nx;
    scene->row_frequency = draw_between(scene, 11, 18);
    scene->plot_width = draw_between(scene, 0.25f, 0.6f);
    scene->clearings = draw(scene) < 0.3f ? 1 + (int)(draw(scene) * CLEARINGS) : 0;
    for (int i = 0; i < CLEARINGS; ++i) {
        scene->clearing_x[i] = draw(scene) * scene->width;
        scene->clearing_y[i] = draw(scene) * scene->height;
        scene->clearing_radius[i] = draw_between(scene, 0.1f, 0.24f);
    }
    scene->density =
        draw(scene) < 0.7f ? draw_between(scene, 0.85f, 1.1f) : draw_between(scene, 0.35f, 0.8f);
}

/* How far a point lies inside the field; negative outside. */
static float inside_field(const struct scene *scene, float x, float y)
{
    if (!scene->field)
        return -1;
    return (x - scene->field_x) * scene->field_nx + (y - scene->field_y) * scene->field_ny;
}

static float inside_clearing(const struct scene *scene, float x, float y)
{
    float deepest = -1;
    for (int i = 0; i < scene->clearings; ++i) {
        float dx = x - scene->clearing_x[i], dy = y - scene->clearing_y[i];
        float ragged = 0.7f + 0.6f * fractal(x * 5, y * 5, 2, scene->salt + 70);
        float inside = scene->clearing_radius[i] * ragged - sqrtf(dx * dx + dy * dy);
        deepest = inside > deepest ? inside : deepest;
    }
    return deepest;
}

static bool tree_may_stand(const struct scene *scene, float x, float y, float radius)
{
    float margin = 0.45f * radius;
    if (inside_field(scene, x, y) > -margin || inside_clearing(scene, x, y) > -margin)
        return false;
    if (scene->river.present &&
        band_distance(&scene->river, x, y) < scene->river.half_width + margin)
        return false;
    if (scene->track.present &&
        band_distance(&scene->track, x, y) < scene->track.half_width + margin)
        return false;
    return fractal(x * 3, y * 3, 3, scene->salt + 30) < 0.2f + 0.6f * scene->density;
}

/* Trees of the two kinds grow in groups; each tree differs a little. */
static struct crown make_crown(const struct scene *scene, int column, int row)
{
    const uint32_t salt = scene->salt;
    float random[6];
    for (int i = 0; i < 6; ++i)
        random[i] = hash(column, row, salt + 100 + (uint32_t)i);
    struct crown crown = {
        .x = ((float)(column - 1) + 0.15f + 0.7f * random[0]) * scene->cell,
        .y = ((float)(row - 1) + 0.15f + 0.7f * random[1]) * scene->cell,
        .radius = scene->cell * (0.48f + 0.38f * random[2] * random[2]) * scene->crown_size,
        .lift = scene->cell * 0.5f * random[3],
    };
    if (!tree_may_stand(scene, crown.x, crown.y, crown.radius))
        crown.radius = 0;
    float group =
        fractal(crown.x * 2.5f, crown.y * 2.5f, 2, salt + 50) + 0.35f * (random[4] - 0.5f);
    crown.colour = mix(scene->wood, scene->wood_other, smooth(limit(group * 3 - 1, 0, 1)));
    crown.colour = scale(crown.colour, 0.8f + 0.4f * random[5]);
    return crown;
}

static ddpm_status make_trees(struct scene *scene)
{
    scene->cell =
        draw(scene) < 0.6f ? draw_between(scene, 0.07f, 0.1f) : draw_between(scene, 0.1f, 0.15f);
    scene->crown_size = draw_between(scene, 0.95f, 1.15f);
    scene->pointed = draw(scene);
    scene->columns = (int)(scene->width / scene->cell) + 4;
    scene->rows = (int)(scene->height / scene->cell) + 4;
    DDPM_TRY(ddpm_new_array((void **)&scene->crowns, (size_t)scene->columns * (size_t)scene->rows,
                            sizeof *scene->crowns, "trees"));
    for (int row = 0; row < scene->rows; ++row)
        for (int column = 0; column < scene->columns; ++column)
            scene->crowns[row * scene->columns + column] = make_crown(scene, column, row);
    return DDPM_OK;
}

/* ---- drawing ---- */

static struct colour field_colour(const struct scene *scene, float x, float y)
{
    float across = -x * scene->field_ny + y * scene->field_nx;
    float plot = across / scene->plot_width;
    int32_t number = (int32_t)floorf(plot);
    float edge = plot - floorf(plot);
    struct colour colour = scene->plots[(int)(hash(number, 3, scene->salt) * PLOTS)];
    float phase = (x * scene->row_x + y * scene->row_y) * scene->row_frequency;
    float wave = fabsf((phase - floorf(phase)) * 2 - 1);
    float strength = 0.1f + 0.2f * hash(number, 4, scene->salt);
    colour = scale(colour, 1 + strength * (wave - 0.5f));
    colour = scale(colour, 0.86f + 0.28f * fractal(x * 4, y * 4, 3, scene->salt + 90));
    return edge < 0.04f ? mix(colour, scene->meadow, 0.8f) : colour;
}

static struct colour ground_colour(const struct scene *scene, float x, float y)
{
    float rough = fractal(x * 7, y * 7, 3, scene->salt + 10);
    float fine = noise(x * 40, y * 40, scene->salt + 20);
    struct colour colour = scale(scene->meadow, 0.72f + 0.4f * rough + 0.12f * fine);
    float river =
        scene->river.present ? band_distance(&scene->river, x, y) - scene->river.half_width : 1;
    float track =
        scene->track.present ? band_distance(&scene->track, x, y) - scene->track.half_width : 1;
    if (inside_field(scene, x, y) > 0)
        colour = field_colour(scene, x, y);
    else if (inside_clearing(scene, x, y) < 0 && scene->density > 0.8f)
        colour = scale(scene->floor, 0.6f + 0.8f * rough);
    if (river < 0) {
        float depth = limit(-river / scene->river.half_width, 0, 1);
        float ripple = fractal(x * 9, y * 9, 2, scene->salt + 60);
        colour = scale(scene->water, 1.15f - 0.3f * depth + 0.16f * (ripple - 0.5f));
    } else if (river < 0.018f) {
        colour = scale(scene->bank, 0.85f + 0.3f * rough);
    }
    if (track < 0)
        colour = scale(scene->dust, 0.85f + 0.2f * rough + 0.08f * fine);
    return colour;
}

/* The highest crown over a point, or NULL; *nx, *ny, *nz its surface normal there. */
static const struct crown *crown_over(const struct scene *scene, float x, float y, float *nx,
                                      float *ny, float *nz)
{
    const struct crown *best = NULL;
    float best_height = -1;
    int column = (int)floorf(x / scene->cell) + 1, row = (int)floorf(y / scene->cell) + 1;
    float ragged = 0.82f + 0.36f * noise(x * 34, y * 34, scene->salt + 80);
    for (int r = row - 1; r <= row + 1; ++r)
        for (int c = column - 1; c <= column + 1; ++c) {
            if (r < 0 || c < 0 || r >= scene->rows || c >= scene->columns)
                continue;
            const struct crown *crown = &scene->crowns[r * scene->columns + c];
            float radius = crown->radius * ragged;
            float dx = x - crown->x, dy = y - crown->y, square = dx * dx + dy * dy;
            if (square >= radius * radius)
                continue;
            float up = sqrtf(1 - square / (radius * radius));
            float height = crown->lift + radius * up;
            if (height > best_height) {
                best = crown;
                best_height = height;
                *nx = dx / radius;
                *ny = dy / radius;
                *nz = up;
            }
        }
    return best;
}

static struct colour point_colour(const struct scene *scene, float x, float y)
{
    float nx = 0, ny = 0, nz = 0;
    const struct crown *crown = crown_over(scene, x, y, &nx, &ny, &nz);
    if (crown) {
        float light = nx * scene->sun_x + ny * scene->sun_y + nz * scene->sun_z;
        float leaves = noise(x * 55, y * 55, scene->salt + 95);
        float shade = 0.34f + 0.95f * limit(light, 0, 1) + 0.3f * (leaves - 0.5f);
        shade *= 0.62f + 0.38f * smooth(nz) + 0.15f * scene->pointed * (nz - 0.5f);
        return scale(crown->colour, shade * 1.22f);
    }
    struct colour ground = ground_colour(scene, x, y);
    float reach = 0.42f * scene->cell;
    bool shadow =
        crown_over(scene, x + scene->sun_x * reach, y + scene->sun_y * reach, &nx, &ny, &nz);
    if (!shadow)
        return ground;
    return (struct colour){ground.r * 0.46f, ground.g * 0.49f, ground.b * 0.56f};
}

static uint8_t to_byte(float value)
{
    return (uint8_t)(limit(value, 0, 255) + 0.5f);
}

static void render(const struct scene *scene, uint8_t *out, int height, int width, float brightness)
{
    const float pixel = 1 / (float)(height < width ? height : width);
    for (int row = 0; row < height; ++row)
        for (int column = 0; column < width; ++column, out += 3) {
            struct colour sum = {0, 0, 0};
            for (int point = 0; point < 4; ++point) {
                float x = ((float)column + 0.25f + 0.5f * (float)(point & 1)) * pixel;
                float y = ((float)row + 0.25f + 0.5f * (float)(point >> 1)) * pixel;
                struct colour colour = point_colour(scene, x, y);
                sum.r += colour.r;
                sum.g += colour.g;
                sum.b += colour.b;
            }
            out[0] = to_byte(sum.r * 0.25f * brightness);
            out[1] = to_byte(sum.g * 0.25f * brightness);
            out[2] = to_byte(sum.b * 0.25f * brightness);
        }
}

ddpm_status ddpm_synthetic_draw(uint8_t *out, int height, int width, uint64_t seed, uint32_t index)
{
    if (height < 8 || width < 8 || height > 4096 || width > 4096)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got a picture size of %dx%d, want 8x8 to 4096x4096",
                          height, width);
    float shorter = (float)(height < width ? height : width);
    struct scene scene = {.seed = seed, .index = index};
    scene.width = (float)width / shorter;
    scene.height = (float)height / shorter;
    scene.salt = (uint32_t)(draw(&scene) * 16777216) ^ index * 2654435761u;
    scene.sun_x = draw_between(&scene, -0.75f, -0.4f);
    scene.sun_y = draw_between(&scene, -0.75f, -0.4f);
    scene.sun_z = 0.75f;
    float length = sqrtf(scene.sun_x * scene.sun_x + scene.sun_y * scene.sun_y + 0.5625f);
    scene.sun_x /= length;
    scene.sun_y /= length;
    scene.sun_z /= length;
    make_colours(&scene);
    make_land(&scene);
    float brightness = draw_between(&scene, 0.9f, 1.25f);
    ddpm_status status = make_trees(&scene);
    if (status == DDPM_OK)
        render(&scene, out, height, width, brightness);
    free(scene.crowns);
    return status;
}
