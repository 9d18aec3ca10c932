/* The file that `talweg predict` writes: CSV or NPY, by its name. */
#ifndef TW_CLI_PREDICTION_FILE_H
#define TW_CLI_PREDICTION_FILE_H

#include "cli/predictor.h"

/* TW_USAGE: neither .csv nor .npy. */
enum tw_status tw_prediction_file_check(const char *path, struct tw_error *error);

/* A row for each sample, in the order of the data: the answers, or with `classes` only the class.
 * CSV: with a header; beside the answers stands what the sample should be. NPY: float32
 * [samples, outputs], or int32 [samples]. Whole or not at all. TW_IO, TW_NO_MEMORY. */
enum tw_status tw_prediction_file_write(const char *path, const struct tw_predictor *predictor,
                                        bool classes, struct tw_error *error);

#endif
