# Comparing pictures.
foreach(part features copies)
  ddpm_test(evaluation_${part} evaluation_${part}_test.c evaluation)
endforeach()
