foreach(part file json npy png safetensors)
  ddpm_test(formats_${part} formats_${part}_test.c formats)
endforeach()
