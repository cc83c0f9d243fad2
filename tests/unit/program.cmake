# Parts of the program that stand alone.
ddpm_test(program_outlook program_outlook_test.c core)
target_sources(test_program_outlook PRIVATE ${PROJECT_SOURCE_DIR}/programs/ddpm/outlook.c)
target_include_directories(test_program_outlook PRIVATE ${PROJECT_SOURCE_DIR}/programs/ddpm)
ddpm_test(program_curves program_curves_test.c core)
target_sources(test_program_curves PRIVATE ${PROJECT_SOURCE_DIR}/programs/ddpm/curves.c)
target_include_directories(test_program_curves PRIVATE ${PROJECT_SOURCE_DIR}/programs/ddpm)
