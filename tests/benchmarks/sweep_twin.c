/* C twins of the compiled kernels: the same formulas, one thread, in loops that gcc vectorises.

   Each sweep sets x <- x - tau g, replaces g by the objective gradient at the new x, and returns in sums[] what an
   evaluation needs: the penalties, |x - f|^2, |g_new|^2 and <g_new, g_old>. The penalty is the hyperbola, the total
   variation isotropic. Sums over a row are in float, sums over the image in double.

   Every loop over j is an inner loop. sweep.py reads in gcc's report that it is vectorised, and compares the values
   with those of the package, borders included, before it times anything. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef float *restrict row;
typedef const float *restrict const_row;

/* restrict holds for parameters of a function; gcc forgets it where it inlines the function. */
#define ROW_FUNCTION static __attribute__((noinline))

typedef struct {
    float residual, norm, product;
} row_sums;

ROW_FUNCTION void step_row(long n, row x, const_row g, float tau)
{
    for (long j = 0; j < n; j++)
        x[j] -= tau * g[j];
}

/* One channel */

/* Fill w = 1/sqrt(|z|^2 + eps^2); return the sum of the roots. */
ROW_FUNCTION float weigh_row(long n, row w, const_row here, const_row below, float squared_epsilon)
{
    float total = 0;
    for (long j = 0; j < n - 1; j++) {
        float across = here[j + 1] - here[j], down = below[j] - here[j];
        float squared = across * across + down * down + squared_epsilon;
        w[j] = 1 / sqrtf(squared);
        total += squared * w[j];
    }
    float down = below[n - 1] - here[n - 1];
    float squared = down * down + squared_epsilon;
    w[n - 1] = 1 / sqrtf(squared);
    return total + squared * w[n - 1];
}

/* Return inflow less outflow at a pixel that may lack a left or right neighbour. */
static float edge_flow(long n, long j, const float *above, const float *here, const float *below, const float *w,
                       const float *w_above)
{
    float flow = (here[j] - above[j]) * w_above[j] - (below[j] - here[j]) * w[j];
    if (j > 0)
        flow += (here[j] - here[j - 1]) * w[j - 1];
    if (j < n - 1)
        flow -= (here[j + 1] - here[j]) * w[j];
    return flow;
}

static void add_edge(row_sums *sums, float *g, float residual, float gradient)
{
    sums->residual += residual * residual;
    sums->norm += gradient * gradient;
    sums->product += gradient * *g;
    *g = gradient;
}

/* Replace a row of g by scale * flow + mu * (x - f). */
static inline __attribute__((always_inline)) row_sums any_gradient_row(long n, row g, const_row above, const_row here,
                                                                       const_row below, const_row noisy, const_row w,
                                                                       const_row w_above, float scale, float mu)
{
    float residuals = 0, norm = 0, product = 0;
    for (long j = 1; j < n - 1; j++) {
        float x = here[j], residual = x - noisy[j];
        float inflow = (x - above[j]) * w_above[j] + (x - here[j - 1]) * w[j - 1];
        float outflow = (below[j] - x + here[j + 1] - x) * w[j];
        float gradient = scale * (inflow - outflow) + mu * residual;
        residuals += residual * residual;
        norm += gradient * gradient;
        product += gradient * g[j];
        g[j] = gradient;
    }
    row_sums sums = {residuals, norm, product};
    for (long edge = 0; edge < n; edge += n > 1 ? n - 1 : 1) {
        float residual = here[edge] - noisy[edge];
        float flow = edge_flow(n, edge, above, here, below, w, w_above);
        add_edge(&sums, g + edge, residual, scale * flow + mu * residual);
    }
    return sums;
}

ROW_FUNCTION row_sums gradient_row(long n, row g, const_row above, const_row here, const_row below, const_row noisy,
                                   const_row w, const_row w_above, float mu)
{
    return any_gradient_row(n, g, above, here, below, noisy, w, w_above, 1, mu);
}

static void add_row(double *sums, row_sums row)
{
    sums[1] += row.residual;
    sums[2] += row.norm;
    sums[3] += row.product;
}

void sweep_grey(long rows, long columns, float *restrict x, float *restrict g, const float *restrict noisy, float tau,
                float mu, float epsilon, double *restrict sums)
{
    float *w = calloc(columns, sizeof(float)), *w_above = calloc(columns, sizeof(float));
    memset(sums, 0, 4 * sizeof(double));
    step_row(columns, x, g, tau);
    for (long i = 0; i < rows; i++) {
        float *here = x + i * columns, *above = i > 0 ? here - columns : here;
        float *below = i + 1 < rows ? here + columns : here;
        if (i + 1 < rows)
            step_row(columns, below, g + (i + 1) * columns, tau);
        sums[0] += weigh_row(columns, w, here, below, epsilon * epsilon);
        add_row(sums, gradient_row(columns, g + i * columns, above, here, below, noisy + i * columns, w, w_above, mu));
        float *swap = w_above;
        w_above = w, w = swap;
    }
    free(w), free(w_above);
}

/* Three channels in one root; scales: the squared factors of the channels' image gradients */

ROW_FUNCTION float weigh_colour_row(long n, long size, long down_by, row w, const float *restrict here,
                                    const float *restrict scales, float squared_epsilon)
{
    const float *first = here, *second = here + size, *third = here + 2 * size;
    const float *below = first + down_by, *below_second = second + down_by, *below_third = third + down_by;
    float first_scale = scales[0], second_scale = scales[1], third_scale = scales[2];
    float total = 0;
    for (long j = 0; j < n - 1; j++) {
        float across = first[j + 1] - first[j], down = below[j] - first[j];
        float across_second = second[j + 1] - second[j], down_second = below_second[j] - second[j];
        float across_third = third[j + 1] - third[j], down_third = below_third[j] - third[j];
        float squared = squared_epsilon + first_scale * (across * across + down * down) +
                        second_scale * (across_second * across_second + down_second * down_second) +
                        third_scale * (across_third * across_third + down_third * down_third);
        w[j] = 1 / sqrtf(squared);
        total += squared * w[j];
    }
    long last = n - 1;
    float down = below[last] - first[last], down_second = below_second[last] - second[last];
    float down_third = below_third[last] - third[last];
    float squared = squared_epsilon + first_scale * down * down + second_scale * down_second * down_second +
                    third_scale * down_third * down_third;
    w[last] = 1 / sqrtf(squared);
    return total + squared * w[last];
}

ROW_FUNCTION row_sums gradient_colour_row(long n, row g, const_row above, const_row here, const_row below,
                                          const_row noisy, const_row w, const_row w_above, float scale, float mu)
{
    return any_gradient_row(n, g, above, here, below, noisy, w, w_above, scale, mu);
}

void sweep_colour(long rows, long columns, float *restrict x, float *restrict g, const float *restrict noisy, float tau,
                  float mu, float epsilon, const float *restrict scales, double *restrict sums)
{
    long size = rows * columns;
    float *w = calloc(columns, sizeof(float)), *w_above = calloc(columns, sizeof(float));
    memset(sums, 0, 4 * sizeof(double));
    for (long c = 0; c < 3; c++)
        step_row(columns, x + c * size, g + c * size, tau);
    for (long i = 0; i < rows; i++) {
        long up_by = i > 0 ? -columns : 0, down_by = i + 1 < rows ? columns : 0;
        if (down_by)
            for (long c = 0; c < 3; c++) {
                long next = c * size + (i + 1) * columns;
                step_row(columns, x + next, g + next, tau);
            }
        sums[0] += weigh_colour_row(columns, size, down_by, w, x + i * columns, scales, epsilon * epsilon);
        for (long c = 0; c < 3; c++) {
            long at = c * size + i * columns;
            add_row(sums, gradient_colour_row(columns, g + at, x + at + up_by, x + at, x + at + down_by, noisy + at, w,
                                              w_above, scales[c], mu));
        }
        float *swap = w_above;
        w_above = w, w = swap;
    }
    free(w), free(w_above);
}

/* Planes */

ROW_FUNCTION float weigh_volume_row(long n, row w, const_row here, const_row below, const_row behind,
                                    float squared_epsilon)
{
    float total = 0;
    for (long j = 0; j < n - 1; j++) {
        float across = here[j + 1] - here[j], down = below[j] - here[j], deep = behind[j] - here[j];
        float squared = across * across + down * down + deep * deep + squared_epsilon;
        w[j] = 1 / sqrtf(squared);
        total += squared * w[j];
    }
    float down = below[n - 1] - here[n - 1], deep = behind[n - 1] - here[n - 1];
    float squared = down * down + deep * deep + squared_epsilon;
    w[n - 1] = 1 / sqrtf(squared);
    return total + squared * w[n - 1];
}

ROW_FUNCTION row_sums gradient_volume_row(long n, row g, const_row before, const_row behind, const_row above,
                                          const_row here, const_row below, const_row noisy, const_row w,
                                          const_row w_above, const_row w_before, float mu)
{
    float residuals = 0, norm = 0, product = 0;
    for (long j = 1; j < n - 1; j++) {
        float x = here[j], residual = x - noisy[j];
        float inflow = (x - before[j]) * w_before[j] + (x - above[j]) * w_above[j] + (x - here[j - 1]) * w[j - 1];
        float outflow = (behind[j] - x + below[j] - x + here[j + 1] - x) * w[j];
        float gradient = inflow - outflow + mu * residual;
        residuals += residual * residual;
        norm += gradient * gradient;
        product += gradient * g[j];
        g[j] = gradient;
    }
    row_sums sums = {residuals, norm, product};
    for (long edge = 0; edge < n; edge += n > 1 ? n - 1 : 1) {
        float x = here[edge], residual = x - noisy[edge];
        float deep = (x - before[edge]) * w_before[edge] - (behind[edge] - x) * w[edge];
        float flow = deep + edge_flow(n, edge, above, here, below, w, w_above);
        add_edge(&sums, g + edge, residual, flow + mu * residual);
    }
    return sums;
}

/* Each plane steps the next one, row by row. */
void sweep_volume(long planes, long rows, long columns, float *restrict x, float *restrict g,
                  const float *restrict noisy, float tau, float mu, float epsilon, double *restrict sums)
{
    long plane = rows * columns;
    /* The weights of this plane and of the one before, below a row of zeros */
    float *w = calloc(plane + columns, sizeof(float)), *w_before = calloc(plane + columns, sizeof(float));
    memset(sums, 0, 4 * sizeof(double));
    step_row(plane, x, g, tau);
    for (long z = 0; z < planes; z++) {
        for (long i = 0; i < rows; i++) {
            long at = z * plane + i * columns, own = (i + 1) * columns;
            float *here = x + at, *above = i > 0 ? here - columns : here, *below = i + 1 < rows ? here + columns : here;
            float *before = z > 0 ? here - plane : here, *behind = z + 1 < planes ? here + plane : here;
            if (z + 1 < planes)
                step_row(columns, behind, g + at + plane, tau);
            sums[0] += weigh_volume_row(columns, w + own, here, below, behind, epsilon * epsilon);
            add_row(sums, gradient_volume_row(columns, g + at, before, behind, above, here, below, noisy + at, w + own,
                                              w + own - columns, w_before + own, mu));
        }
        float *swap = w_before;
        w_before = w, w = swap;
    }
    free(w), free(w_before);
}

/* One channel with the fidelity |x - f|^2_W. A negative weight marks a held pixel, whose gradient is zero. The sums
   go on with |g_new|^2_{1/W} where the weight is positive, and |g_new|^2 where it is 0. */

typedef struct {
    row_sums plain;
    float dual, missing;
} weighted_sums;

static void add_weighted_edge(weighted_sums *sums, float *g, float weight, float residual, float flow, float mu)
{
    float bound = fmaxf(weight, 0) * residual, gradient = weight >= 0 ? flow + mu * bound : 0;
    float squared = gradient * gradient;
    sums->plain.residual += bound * residual;
    sums->plain.norm += squared;
    sums->plain.product += gradient * *g;
    sums->dual += weight > 0 ? squared / weight : 0;
    sums->missing += weight == 0 ? squared : 0;
    *g = gradient;
}

ROW_FUNCTION weighted_sums gradient_weighted_row(long n, row g, const_row above, const_row here, const_row below,
                                                 const_row noisy, const_row fidelity, const_row w, const_row w_above,
                                                 float mu)
{
    float residuals = 0, norm = 0, product = 0, dual = 0, missing = 0;
    for (long j = 1; j < n - 1; j++) {
        float x = here[j], residual = x - noisy[j], weight = fidelity[j];
        float inflow = (x - above[j]) * w_above[j] + (x - here[j - 1]) * w[j - 1];
        float outflow = (below[j] - x + here[j + 1] - x) * w[j];
        float is_free = weight >= 0 ? 1 : 0, is_known = weight > 0 ? 1 : 0;
        float inverse = weight > 0 ? 1 / weight : 0;
        float bound = fmaxf(weight, 0) * residual;
        float gradient = is_free * (inflow - outflow + mu * bound), squared = gradient * gradient;
        residuals += bound * residual;
        norm += squared;
        product += gradient * g[j];
        dual += inverse * squared;
        missing += (1 - is_known) * squared;
        g[j] = gradient;
    }
    weighted_sums sums = {{residuals, norm, product}, dual, missing};
    for (long edge = 0; edge < n; edge += n > 1 ? n - 1 : 1)
        add_weighted_edge(&sums, g + edge, fidelity[edge], here[edge] - noisy[edge],
                          edge_flow(n, edge, above, here, below, w, w_above), mu);
    return sums;
}

void sweep_weighted(long rows, long columns, float *restrict x, float *restrict g, const float *restrict noisy,
                    const float *restrict fidelity, float tau, float mu, float epsilon, double *restrict sums)
{
    float *w = calloc(columns, sizeof(float)), *w_above = calloc(columns, sizeof(float));
    memset(sums, 0, 6 * sizeof(double));
    step_row(columns, x, g, tau);
    for (long i = 0; i < rows; i++) {
        float *here = x + i * columns, *above = i > 0 ? here - columns : here;
        float *below = i + 1 < rows ? here + columns : here;
        if (i + 1 < rows)
            step_row(columns, below, g + (i + 1) * columns, tau);
        sums[0] += weigh_row(columns, w, here, below, epsilon * epsilon);
        weighted_sums row = gradient_weighted_row(columns, g + i * columns, above, here, below, noisy + i * columns,
                                                  fidelity + i * columns, w, w_above, mu);
        add_row(sums, row.plain);
        sums[4] += row.dual;
        sums[5] += row.missing;
        float *swap = w_above;
        w_above = w, w = swap;
    }
    free(w), free(w_above);
}

/* The floor of memory: read x, g and f, write x and g, and hardly any arithmetic */
void stream(long n, float *restrict x, float *restrict g, const float *restrict noisy, float part)
{
    for (long j = 0; j < n; j++) {
        float f = noisy[j];
        x[j] += part * (f - x[j]);
        g[j] += part * (f - g[j]);
    }
}
