# Fuzz targets of proto.
tw_fuzz(fuzz_frame SOURCES fuzz/fuzz_frame.c lib/frame_recorder.c ROOMS tw_proto)
tw_fuzz(fuzz_order_log SOURCES fuzz/fuzz_order_log.c ROOMS tw_proto)
tw_fuzz(fuzz_trace_log SOURCES fuzz/fuzz_trace_log.c ROOMS tw_proto)
