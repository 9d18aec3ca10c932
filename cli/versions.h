/* What this program is made of: versions of Talweg, its protocol and libraries,
 * and the CPU. Used by `talweg version` and for the notes in a run's job.yaml.
 */
#ifndef TW_CLI_VERSIONS_H
#define TW_CLI_VERSIONS_H

#define TW_VERSION_NOTES 4
#define TW_VERSION_NOTE 256

/* "talweg 0.1.0, protocol 1", the libraries, the CPU, the BLAS core. */
void tw_version_notes(char note[TW_VERSION_NOTES][TW_VERSION_NOTE]);

/* "0.3.21", of the OpenBLAS that is loaded, into out[TW_VERSION_NOTE]. */
char *tw_version_openblas(char *out);

/* As /proc/cpuinfo names it, "unknown" when it does not, into out[TW_VERSION_NOTE]. */
char *tw_version_cpu(char *out);

#endif
