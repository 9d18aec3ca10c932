# Tests of server/io without a server.
tw_test(test_borders unit SOURCES unit/test_borders.c ROOMS tw_server_io)
tw_test(test_trace unit SOURCES unit/test_trace.c ROOMS tw_server_io)
tw_test(test_manifest unit SOURCES unit/test_manifest.c ROOMS tw_server_io)
tw_test(test_checkpoint_folder unit SOURCES unit/test_checkpoint_folder.c ROOMS tw_server_io)
