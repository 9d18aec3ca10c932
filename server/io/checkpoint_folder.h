/* The folders below checkpoints/ of a run: made whole, kept few, removed.
 *
 * Used by checkpoint_writer.c. A folder that has its name is whole: it is written as NAME.tmp,
 * everything in it is flushed, then it is renamed, and checkpoints/ is flushed too. Only folders
 * with names that are ours are ever removed, with the files that we put there.
 */
#ifndef TW_IO_CHECKPOINT_FOLDER_H
#define TW_IO_CHECKPOINT_FOLDER_H

#include "common/base/file.h"
#include "common/base/text.h"

/* Writes manifest.json, flushes `draft`, makes it `folder`. TW_IO, TW_LIMIT. */
enum tw_status tw_checkpoint_folder_commit(const char *draft, const char *folder, const char *root,
                                           const struct tw_text *manifest, struct tw_error *error);

/* Removes all but the newest `keep`: by generation, then version. */
void tw_checkpoint_folder_prune(const char *root, size_t keep);

/* Removes what a server that was killed left half-written. */
void tw_checkpoint_folder_sweep(const char *root);

/* A folder with its files; nothing is said when that fails. */
void tw_checkpoint_folder_remove(const char *folder);

#endif
