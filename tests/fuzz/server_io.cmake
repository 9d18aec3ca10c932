# Manifests of checkpoints.
tw_fuzz(fuzz_manifest SOURCES fuzz/fuzz_manifest.c ROOMS tw_server_io)
