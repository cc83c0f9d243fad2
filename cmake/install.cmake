# Installation: headers, the shared and the static library, ddpm.pc, CMake package files. The program and the CUDA
# plug-in have their own install rules. No installed file contains the prefix, unless it is /usr, so the tree can be
# moved.
include(CMakePackageConfigHelpers)

install(DIRECTORY include/ddpm DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development
        FILES_MATCHING PATTERN "*.h")
foreach(kind shared static)
  install(TARGETS ddpm_${kind} EXPORT ddpm-${kind}
          LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library NAMELINK_COMPONENT development
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development
          INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  install(EXPORT ddpm-${kind} NAMESPACE ddpm:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/ddpm
          COMPONENT development)
endforeach()

# What a statically linked program needs in addition. For pkg-config these are linker options, because a module named
# here would have to be installed for the shared library too. For CMake they are the calls that define the imported
# targets named in the static library's export.
ddpm_outside_libraries(outside)
set(pc_libraries "")
set(package_lookups "")
foreach(library ${outside})
  if(library MATCHES "^PkgConfig::(.*)$")
    set(prefix ${CMAKE_MATCH_1})
    list(APPEND pc_libraries ${${prefix}_LDFLAGS})
    string(APPEND package_lookups "  ddpm_look_up_module(${prefix} ${${prefix}_MODULE_NAME})\n")
  elseif(library STREQUAL "Threads::Threads")
    list(APPEND pc_libraries ${CMAKE_THREAD_LIBS_INIT})
    string(APPEND package_lookups "  find_package(Threads QUIET)\n")
  else()
    list(APPEND pc_libraries -l${library})
  endif()
endforeach()
list(REMOVE_DUPLICATES pc_libraries)
foreach(folder ${CMAKE_C_IMPLICIT_LINK_DIRECTORIES}) # the linker looks there anyway
  list(REMOVE_ITEM pc_libraries -L${folder})
endforeach()
list(JOIN pc_libraries " " DDPM_PC_LIBRARIES)
set(DDPM_PACKAGE_LOOKUPS "${package_lookups}")
set(package_targets ${outside})
list(FILTER package_targets INCLUDE REGEX "::")
list(JOIN package_targets " " DDPM_PACKAGE_TARGETS)

# The system's own folders are written as they are, so that pkg-config knows them and omits -I and -L. Elsewhere the
# tree can be moved, and a program finds the library where it was when the program was linked.
if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")
  set(DDPM_PC_PREFIX /usr)
  set(DDPM_PC_RPATH "")
else()
  file(RELATIVE_PATH DDPM_PC_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
  set(DDPM_PC_PREFIX "\${pcfiledir}/${DDPM_PC_PREFIX}")
  set(DDPM_PC_RPATH "-Wl,-rpath,\${libdir} ")
endif()
configure_file(cmake/ddpm.pc.in ddpm.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/ddpm.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)

configure_package_config_file(cmake/ddpm-config.cmake.in ddpm-config.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/ddpm)
write_basic_package_version_file(ddpm-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/ddpm-config.cmake ${PROJECT_BINARY_DIR}/ddpm-config-version.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/ddpm COMPONENT development)
