# Manual pages and completions: the program prints them from its own tables, at the end of the build. A cross-built
# program that cannot run here (no CMAKE_CROSSCOMPILING_EMULATOR) is installed without them.
set(DDPM_ZSH_COMPLETIONS ${CMAKE_INSTALL_DATADIR}/zsh/site-functions CACHE STRING "Folder of zsh's completions")
if(CMAKE_CROSSCOMPILING AND NOT CMAKE_CROSSCOMPILING_EMULATOR)
  message(STATUS "manual pages and completions: not made, the program cannot run here")
  return()
endif()

set(made "")
# ddpm_printed(FILE arguments…): write the program's output for these arguments to FILE in the build folder.
macro(ddpm_printed file)
  add_custom_command(OUTPUT ${PROJECT_BINARY_DIR}/${file} DEPENDS ddpm VERBATIM
    COMMAND sh ${PROJECT_SOURCE_DIR}/cmake/print-to.sh ${PROJECT_BINARY_DIR}/${file}
            ${CMAKE_CROSSCOMPILING_EMULATOR} $<TARGET_FILE:ddpm> ${ARGN})
  list(APPEND made ${PROJECT_BINARY_DIR}/${file})
endmacro()

# Every cmd_VERB.c of the program is a verb; tests/cli/manuals.bats checks that none is missing.
file(GLOB verbs CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/programs/ddpm/cmd_*.c)
list(TRANSFORM verbs REPLACE "^.*/cmd_(.*)\\.c$" "\\1")
set(pages ${PROJECT_BINARY_DIR}/man/ddpm.1)
ddpm_printed(man/ddpm.1 help --man)
foreach(verb ${verbs})
  ddpm_printed(man/ddpm-${verb}.1 help --man ${verb})
  list(APPEND pages ${PROJECT_BINARY_DIR}/man/ddpm-${verb}.1)
endforeach()
foreach(shell bash zsh fish)
  ddpm_printed(completions/ddpm.${shell} completion ${shell})
endforeach()
add_custom_target(manuals ALL DEPENDS ${made})

install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT program)
install(FILES ${PROJECT_BINARY_DIR}/completions/ddpm.bash RENAME ddpm COMPONENT program
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${PROJECT_BINARY_DIR}/completions/ddpm.zsh RENAME _ddpm COMPONENT program
        DESTINATION ${DDPM_ZSH_COMPLETIONS})
install(FILES ${PROJECT_BINARY_DIR}/completions/ddpm.fish COMPONENT program
        DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
