/* Denormal floats: the tiny ones below 2^-126, which carry nothing that training
 * needs and cost up to 100 times the time of other numbers. Adam's moments of a
 * weight whose gradient has stopped end there and stay.
 *
 * Every thread that computes gradients or applies updates flushes them to zero, so
 * that speed and bits do not depend on what a thread happens to inherit.
 */
#ifndef TW_BASE_DENORMALS_H
#define TW_BASE_DENORMALS_H

/* From here on the calling thread takes denormals as zeros, and gives zeros where
 * they would be results (x86: DAZ and FTZ; aarch64: FZ; elsewhere: does nothing). */
void tw_flush_denormals(void);

#endif
