# Fuzz targets of server/core.
tw_fuzz(fuzz_session SOURCES fuzz/fuzz_session.c fuzz/session_party.c ROOMS tw_server_core)
tw_fuzz(fuzz_servers SOURCES fuzz/fuzz_servers.c fuzz/servers_party.c ROOMS tw_server_core)
