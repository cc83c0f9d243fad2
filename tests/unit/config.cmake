ddpm_test(config config_test.c config)
ddpm_test(config_recipes config_recipes_test.c config)
ddpm_test(config_sampling config_sampling_test.c config)
