/* Means of powers in memoryless `async` with momentum, on f(x) = x^2/2: the weight x, its velocity
 * v and what each of M workers has read, r_k, go on as
 *
 *     v' = mu v + r_k,   x' = x - h v',   r_k' = x',   each k as likely
 *
 * so that the means of all products of `degree` such factors are a linear recursion. Workers are
 * alike: only how often each is a factor counts, not which. With degree 2 and without v these are
 * E x^2, E x r_i, E r_i^2 and E r_i r_j.
 */
#ifndef TW_TESTS_POWERS_H
#define TW_TESTS_POWERS_H

#include <math.h>
#include <string.h>

enum { MOST_FACTORS = 4, MOST_PRODUCTS = 26 };

struct product {
    int x, v, readers;
    int r[MOST_FACTORS]; /* how often each reader is a factor, falling */
};

struct powers {
    double workers, h, mu;
    int count;
    struct product product[MOST_PRODUCTS];
    double next[MOST_PRODUCTS][MOST_PRODUCTS];
};

static inline void add_products(struct powers *p, struct product so_far, int left, int most) {
    if (left == 0)
        p->product[p->count++] = so_far;
    if (left == 0 || so_far.readers >= p->workers)
        return;
    for (int times = most < left ? most : left; times > 0; times--) {
        struct product more = so_far;
        more.r[more.readers++] = times;
        add_products(p, more, left - times, times);
    }
}

static inline int number_of(const struct powers *p, struct product product) {
    for (int i = 1; i < product.readers; i++) /* fall again */
        for (int k = i; k > 0 && product.r[k] > product.r[k - 1]; k--) {
            int larger = product.r[k];
            product.r[k] = product.r[k - 1];
            product.r[k - 1] = larger;
        }
    for (int i = 0; i < p->count; i++)
        if (memcmp(&p->product[i], &product, sizeof product) == 0)
            return i;
    return -1;
}

/* Adds what product `from` becomes when its reader `who` pushes, or one that is no factor. */
static inline void push_of(struct powers *p, int from, int who, double chance) {
    double term[MOST_FACTORS + 1][MOST_FACTORS + 1] = {{1}}; /* of x^a v^b r_who^rest */
    struct product others = p->product[from];
    int moved = others.x, degree = others.x + others.v;
    if (who < others.readers) {
        moved += others.r[who];
        degree += others.r[who];
        others.readers--;
        memmove(&others.r[who], &others.r[who + 1],
                (size_t)(others.readers - who) * sizeof others.r[0]);
        others.r[others.readers] = 0;
    }
    for (int factor = 0; factor < degree; factor++) {
        double more[MOST_FACTORS + 1][MOST_FACTORS + 1] = {{0}};
        const double part = factor < moved ? -p->h : 1; /* of v' in this factor */
        for (int a = 0; a <= factor; a++)
            for (int b = 0; a + b <= factor; b++) {
                more[a + 1][b] += factor < moved ? term[a][b] : 0;
                more[a][b + 1] += part * p->mu * term[a][b];
                more[a][b] += part * term[a][b];
            }
        memcpy(term, more, sizeof term);
    }
    for (int a = 0; a <= degree; a++)
        for (int b = 0; a + b <= degree; b++) {
            struct product to = others;
            to.x = a;
            to.v = b;
            if (a + b < degree)
                to.r[to.readers++] = degree - a - b;
            if (term[a][b] != 0)
                p->next[from][number_of(p, to)] += chance * term[a][b];
        }
}

static inline struct powers powers_of(double workers, double h, double mu, int degree) {
    struct powers p = {.workers = workers, .h = h, .mu = mu};
    for (int x = 0; x <= degree; x++)
        for (int v = 0; x + v <= degree; v++)
            add_products(&p, (struct product){.x = x, .v = v}, degree - x - v, degree);
    for (int i = 0; i < p.count; i++) {
        const int readers = p.product[i].readers;
        for (int who = 0; who < readers; who++)
            push_of(&p, i, who, 1 / workers);
        if (workers > readers)
            push_of(&p, i, readers, (workers - readers) / workers);
    }
    return p;
}

/* By how much the means grow in an update, in the end: after 2^15 of them. With one worker and
 * momentum there is no chance, so that means swing, and this says nothing. */
static inline double growth_of(const struct powers *p) {
    static double far[MOST_PRODUCTS][MOST_PRODUCTS], twice[MOST_PRODUCTS][MOST_PRODUCTS];
    double before = 0, after = 0;
    memcpy(far, p->next, sizeof far);
    for (int squared = 0; squared < 15; squared++) {
        double largest = 0;
        for (int i = 0; i < p->count; i++)
            for (int k = 0; k < p->count; k++) {
                twice[i][k] = 0;
                for (int j = 0; j < p->count; j++)
                    twice[i][k] += far[i][j] * far[j][k];
                largest = fmax(largest, fabs(twice[i][k]));
            }
        for (int i = 0; i < p->count; i++)
            for (int k = 0; k < p->count; k++)
                far[i][k] = twice[i][k] / largest;
    }
    for (int i = 0; i < p->count; i++) { /* from weights and reads of 1, at rest */
        double sum = 0, next = 0;
        for (int k = 0; k < p->count; k++)
            for (int j = 0; j < p->count; j++) {
                sum += p->product[k].v == 0 && j == 0 ? far[i][k] : 0;
                next += p->product[k].v == 0 ? p->next[i][j] * far[j][k] : 0;
            }
        before += fabs(sum);
        after += fabs(next);
    }
    return after / before;
}

/* The rate times curvature at which the mean of this power stops being finite. */
static inline double edge_of_power(double workers, double mu, int degree) {
    double low = 1e-3, high = 4;
    for (int i = 0; i < 50; i++) {
        double h = (low + high) / 2;
        struct powers powers = powers_of(workers, h, mu, degree);
        bool grows = growth_of(&powers) > 1;
        low = grows ? low : h;
        high = grows ? h : high;
    }
    return low;
}

#endif
