/* C twins of the compiled kernels: the same formulas, one thread, in loops that gcc vectorises.

   Each sweep sets x <- x - tau d and replaces d by g/m at the new x: the objective gradient over the metric, which is
   mu plus the weights of the differences that touch the pixel. It returns in sums[] what an evaluation needs: the
   penalties, |x - f|^2, |g|^2, <g, d_old>, sum m d_old^2 and sum m d^2. The penalty is the hyperbola, the total
   variation isotropic: one weight 1/sqrt(|z|^2 + eps^2) for all differences from a pixel to the next ones. Weights stay
   in buffers; above the first row and before the first plane they are zero. Sums over a row are in float, sums over the
   image in double.

   Every loop over j is an inner loop. sweep.py reads in gcc's report that it is vectorised, and compares the values
   with those of the package, borders included, before it times anything. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef float *restrict row;
typedef const float *restrict const_row;

/* restrict holds for parameters of a function; gcc forgets it where it inlines the function. */
#define ROW_FUNCTION static __attribute__((noinline))
#define INLINE static inline __attribute__((always_inline))

ROW_FUNCTION void step_row(long n, row x, const_row d, float tau)
{
    for (long j = 0; j < n; j++)
        x[j] -= tau * d[j];
}

/* Sums over a row, in the order of sums[] after the penalties; only the sweep with weights fills the last two. */
typedef struct {
    float residual, norm, product, before, now, dual, missing;
} row_sums;

static void add_row(double *sums, row_sums row)
{
    sums[1] += row.residual;
    sums[2] += row.norm;
    sums[3] += row.product;
    sums[4] += row.before;
    sums[5] += row.now;
}

/* Inflow less outflow at a pixel, and the weights of all differences that touch it */
typedef struct {
    float flow, weights;
} pixel_flow;

/* The same at a pixel that may lack a left or right neighbour. has_below: 1, or 0 in the last row. */
static pixel_flow edge_flow(long n, long j, const float *above, const float *here, const float *below, const float *w,
                            const float *w_above, float has_below)
{
    pixel_flow at = {(here[j] - above[j]) * w_above[j] - (below[j] - here[j]) * w[j], w_above[j] + has_below * w[j]};
    if (j > 0) {
        at.flow += (here[j] - here[j - 1]) * w[j - 1];
        at.weights += w[j - 1];
    }
    if (j < n - 1) {
        at.flow -= (here[j + 1] - here[j]) * w[j];
        at.weights += w[j];
    }
    return at;
}

static void update_edge(row_sums *sums, float *d, float residual, float gradient, float metric)
{
    float direction = gradient / metric;
    sums->residual += residual * residual;
    sums->norm += gradient * gradient;
    sums->product += gradient * *d;
    sums->before += metric * (*d * *d);
    sums->now += gradient * direction;
    *d = direction;
}

/* One channel */

/* Fill the weights w = 1/sqrt(|z|^2 + eps^2); return the sum of the roots. */
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

/* Replace a row of d by g/m. scale: the squared factor of the channel's differences. */
INLINE row_sums any_update_row(long n, row d, const_row above, const_row here, const_row below, const_row noisy,
                               const_row w, const_row w_above, float scale, float has_below, float mu)
{
    float residuals = 0, norm = 0, product = 0, before = 0, now = 0, own = 1 + has_below;
    for (long j = 1; j < n - 1; j++) {
        float x = here[j], residual = x - noisy[j], old = d[j];
        float inflow = (x - above[j]) * w_above[j] + (x - here[j - 1]) * w[j - 1];
        float outflow = (below[j] - x + here[j + 1] - x) * w[j];
        float gradient = scale * (inflow - outflow) + mu * residual;
        float metric = scale * (w_above[j] + w[j - 1] + own * w[j]) + mu;
        float direction = gradient / metric;
        residuals += residual * residual;
        norm += gradient * gradient;
        product += gradient * old;
        before += metric * (old * old);
        now += gradient * direction;
        d[j] = direction;
    }
    row_sums sums = {residuals, norm, product, before, now, 0, 0};
    for (long edge = 0; edge < n; edge += n > 1 ? n - 1 : 1) {
        float residual = here[edge] - noisy[edge];
        pixel_flow at = edge_flow(n, edge, above, here, below, w, w_above, has_below);
        update_edge(&sums, d + edge, residual, scale * at.flow + mu * residual, scale * at.weights + mu);
    }
    return sums;
}

ROW_FUNCTION row_sums update_row(long n, row d, const_row above, const_row here, const_row below, const_row noisy,
                                 const_row w, const_row w_above, float has_below, float mu)
{
    return any_update_row(n, d, above, here, below, noisy, w, w_above, 1, has_below, mu);
}

void sweep_grey(long rows, long columns, float *restrict x, float *restrict d, const float *restrict noisy, float tau,
                float mu, float epsilon, double *restrict sums)
{
    float *w = calloc(columns, sizeof(float)), *w_above = calloc(columns, sizeof(float));
    memset(sums, 0, 6 * sizeof(double));
    step_row(columns, x, d, tau);
    for (long i = 0; i < rows; i++) {
        long up_by = i > 0 ? -columns : 0, down_by = i + 1 < rows ? columns : 0;
        float *here = x + i * columns;
        if (down_by)
            step_row(columns, here + columns, d + (i + 1) * columns, tau);
        sums[0] += weigh_row(columns, w, here, here + down_by, epsilon * epsilon);
        add_row(sums, update_row(columns, d + i * columns, here + up_by, here, here + down_by, noisy + i * columns, w,
                                 w_above, down_by ? 1 : 0, mu));
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

ROW_FUNCTION row_sums update_colour_row(long n, row d, const_row above, const_row here, const_row below,
                                        const_row noisy, const_row w, const_row w_above, float scale, float has_below,
                                        float mu)
{
    return any_update_row(n, d, above, here, below, noisy, w, w_above, scale, has_below, mu);
}

void sweep_colour(long rows, long columns, float *restrict x, float *restrict d, const float *restrict noisy, float tau,
                  float mu, float epsilon, const float *restrict scales, double *restrict sums)
{
    long size = rows * columns;
    float *w = calloc(columns, sizeof(float)), *w_above = calloc(columns, sizeof(float));
    memset(sums, 0, 6 * sizeof(double));
    for (long c = 0; c < 3; c++)
        step_row(columns, x + c * size, d + c * size, tau);
    for (long i = 0; i < rows; i++) {
        long up_by = i > 0 ? -columns : 0, down_by = i + 1 < rows ? columns : 0;
        if (down_by)
            for (long c = 0; c < 3; c++) {
                long next = c * size + (i + 1) * columns;
                step_row(columns, x + next, d + next, tau);
            }
        sums[0] += weigh_colour_row(columns, size, down_by, w, x + i * columns, scales, epsilon * epsilon);
        for (long c = 0; c < 3; c++) {
            long at = c * size + i * columns;
            add_row(sums, update_colour_row(columns, d + at, x + at + up_by, x + at, x + at + down_by, noisy + at, w,
                                            w_above, scales[c], down_by ? 1 : 0, mu));
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

ROW_FUNCTION row_sums update_volume_row(long n, row d, const_row in_front, const_row behind, const_row above,
                                        const_row here, const_row below, const_row noisy, const_row w,
                                        const_row w_above, const_row w_in_front, float has_below, float has_behind,
                                        float mu)
{
    float residuals = 0, norm = 0, product = 0, before = 0, now = 0, own = 1 + has_below + has_behind;
    for (long j = 1; j < n - 1; j++) {
        float x = here[j], residual = x - noisy[j], old = d[j];
        float inflow = (x - in_front[j]) * w_in_front[j] + (x - above[j]) * w_above[j] + (x - here[j - 1]) * w[j - 1];
        float outflow = (behind[j] - x + below[j] - x + here[j + 1] - x) * w[j];
        float gradient = inflow - outflow + mu * residual;
        float metric = w_in_front[j] + w_above[j] + w[j - 1] + own * w[j] + mu;
        float direction = gradient / metric;
        residuals += residual * residual;
        norm += gradient * gradient;
        product += gradient * old;
        before += metric * (old * old);
        now += gradient * direction;
        d[j] = direction;
    }
    row_sums sums = {residuals, norm, product, before, now, 0, 0};
    for (long edge = 0; edge < n; edge += n > 1 ? n - 1 : 1) {
        float x = here[edge], residual = x - noisy[edge];
        pixel_flow at = edge_flow(n, edge, above, here, below, w, w_above, has_below);
        at.flow += (x - in_front[edge]) * w_in_front[edge] - (behind[edge] - x) * w[edge];
        at.weights += w_in_front[edge] + has_behind * w[edge];
        update_edge(&sums, d + edge, residual, at.flow + mu * residual, at.weights + mu);
    }
    return sums;
}

/* Each plane steps the next one, row by row. */
void sweep_volume(long planes, long rows, long columns, float *restrict x, float *restrict d,
                  const float *restrict noisy, float tau, float mu, float epsilon, double *restrict sums)
{
    long plane = rows * columns;
    /* The weights of this plane and of the one in front, below a row of zeros */
    float *w = calloc(plane + columns, sizeof(float)), *w_in_front = calloc(plane + columns, sizeof(float));
    memset(sums, 0, 6 * sizeof(double));
    step_row(plane, x, d, tau);
    for (long z = 0; z < planes; z++) {
        long front_by = z > 0 ? -plane : 0, behind_by = z + 1 < planes ? plane : 0;
        for (long i = 0; i < rows; i++) {
            long at = z * plane + i * columns, own = (i + 1) * columns;
            long up_by = i > 0 ? -columns : 0, down_by = i + 1 < rows ? columns : 0;
            float *here = x + at;
            if (behind_by)
                step_row(columns, here + plane, d + at + plane, tau);
            sums[0] += weigh_volume_row(columns, w + own, here, here + down_by, here + behind_by, epsilon * epsilon);
            add_row(sums, update_volume_row(columns, d + at, here + front_by, here + behind_by, here + up_by, here,
                                            here + down_by, noisy + at, w + own, w + own - columns, w_in_front + own,
                                            down_by ? 1 : 0, behind_by ? 1 : 0, mu));
        }
        float *swap = w_in_front;
        w_in_front = w, w = swap;
    }
    free(w), free(w_in_front);
}

/* One channel with the fidelity |x - f|^2_W. A negative weight marks a held pixel, whose gradient is zero. The metric
   is zero at a missing pixel without neighbours. The sums go on with |g|^2_{1/W} where the weight is positive, and
   |g|^2 where it is 0. */

static void update_weighted_edge(row_sums *sums, float *d, float weight, float residual, pixel_flow at, float mu)
{
    float known = fmaxf(weight, 0), gradient = weight >= 0 ? at.flow + mu * known * residual : 0;
    float metric = at.weights + mu * known, direction = metric > 0 ? gradient / metric : 0;
    float squared = gradient * gradient;
    sums->residual += known * residual * residual;
    sums->norm += squared;
    sums->product += gradient * *d;
    sums->before += metric * (*d * *d);
    sums->now += gradient * direction;
    sums->dual += weight > 0 ? squared / weight : 0;
    sums->missing += weight == 0 ? squared : 0;
    *d = direction;
}

ROW_FUNCTION row_sums update_weighted_row(long n, row d, const_row above, const_row here, const_row below,
                                          const_row noisy, const_row fidelity, const_row w, const_row w_above,
                                          float has_below, float mu)
{
    float residuals = 0, norm = 0, product = 0, before = 0, now = 0, dual = 0, missing = 0, own = 1 + has_below;
    for (long j = 1; j < n - 1; j++) {
        float x = here[j], residual = x - noisy[j], old = d[j], weight = fidelity[j], known = fmaxf(weight, 0);
        float inflow = (x - above[j]) * w_above[j] + (x - here[j - 1]) * w[j - 1];
        float outflow = (below[j] - x + here[j + 1] - x) * w[j];
        float bound = known * residual;
        float gradient = weight >= 0 ? inflow - outflow + mu * bound : 0, squared = gradient * gradient;
        float metric = w_above[j] + w[j - 1] + own * w[j] + mu * known; /* two differences at least: not zero */
        float direction = gradient / metric;
        residuals += bound * residual;
        norm += squared;
        product += gradient * old;
        before += metric * (old * old);
        now += gradient * direction;
        dual += weight > 0 ? squared / weight : 0;
        missing += weight == 0 ? squared : 0;
        d[j] = direction;
    }
    row_sums sums = {residuals, norm, product, before, now, dual, missing};
    for (long edge = 0; edge < n; edge += n > 1 ? n - 1 : 1)
        update_weighted_edge(&sums, d + edge, fidelity[edge], here[edge] - noisy[edge],
                             edge_flow(n, edge, above, here, below, w, w_above, has_below), mu);
    return sums;
}

void sweep_weighted(long rows, long columns, float *restrict x, float *restrict d, const float *restrict noisy,
                    const float *restrict fidelity, float tau, float mu, float epsilon, double *restrict sums)
{
    float *w = calloc(columns, sizeof(float)), *w_above = calloc(columns, sizeof(float));
    memset(sums, 0, 8 * sizeof(double));
    step_row(columns, x, d, tau);
    for (long i = 0; i < rows; i++) {
        long up_by = i > 0 ? -columns : 0, down_by = i + 1 < rows ? columns : 0;
        float *here = x + i * columns;
        if (down_by)
            step_row(columns, here + columns, d + (i + 1) * columns, tau);
        sums[0] += weigh_row(columns, w, here, here + down_by, epsilon * epsilon);
        row_sums row = update_weighted_row(columns, d + i * columns, here + up_by, here, here + down_by,
                                           noisy + i * columns, fidelity + i * columns, w, w_above, down_by ? 1 : 0,
                                           mu);
        add_row(sums, row);
        sums[6] += row.dual;
        sums[7] += row.missing;
        float *swap = w_above;
        w_above = w, w = swap;
    }
    free(w), free(w_above);
}

/* The floor of memory: read x, d and f, write x and d, and hardly any arithmetic */
void stream(long n, float *restrict x, float *restrict d, const float *restrict noisy, float part)
{
    for (long j = 0; j < n; j++) {
        float f = noisy[j];
        x[j] += part * (f - x[j]);
        d[j] += part * (f - d[j]);
    }
}
