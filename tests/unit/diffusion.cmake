foreach(part bound chain flow given level objective path sampler order noise variance consistency)
  ddpm_test(diffusion_${part} diffusion_${part}_test.c diffusion)
  target_sources(test_diffusion_${part} PRIVATE diffusion_support.c)
endforeach()

ddpm_test(diffusion_start diffusion_start_test.c model)
target_sources(test_diffusion_start PRIVATE diffusion_support.c)
