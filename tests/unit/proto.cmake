# Tests of proto and of common/net.
set(frame_library lib/frame_recorder.c lib/frame_samples.c)
tw_test(test_frame unit SOURCES unit/test_frame.c ${frame_library} ROOMS tw_proto)
