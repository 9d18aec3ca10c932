# Fuzz targets of proto.
tw_fuzz(fuzz_frame SOURCES fuzz/fuzz_frame.c lib/frame_recorder.c ROOMS tw_proto)
