# Tests of server/io without a server.
tw_test(test_trace unit SOURCES unit/test_trace.c ROOMS tw_server_io)
