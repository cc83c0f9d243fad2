# Parts of the program that stand alone.
ddpm_test(program_outlook program_outlook_test.c core)
target_sources(test_program_outlook PRIVATE ${PROJECT_SOURCE_DIR}/programs/ddpm/outlook.c)
target_include_directories(test_program_outlook PRIVATE ${PROJECT_SOURCE_DIR}/programs/ddpm)
ddpm_test(program_slerp program_slerp_test.c core)
target_sources(test_program_slerp PRIVATE ${PROJECT_SOURCE_DIR}/programs/ddpm/slerp.c)
target_include_directories(test_program_slerp PRIVATE ${PROJECT_SOURCE_DIR}/programs/ddpm)
