# The header of safetensors files.
tw_fuzz(fuzz_safetensors SOURCES fuzz/fuzz_safetensors.c ROOMS tw_tensor)
