ddpm_test(config config_test.c config)
