# Fuzz targets of server/core.
tw_fuzz(fuzz_session SOURCES fuzz/fuzz_session.c fuzz/session_party.c ROOMS tw_server_core)
