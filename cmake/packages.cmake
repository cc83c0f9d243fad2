# Packages by cpack: scripts/package.sh configures, builds and calls it. .deb files, one for each component that is
# built, when DDPM_PACKAGE is DEB; a .tar.gz that can be unpacked anywhere when it is TGZ, with the libraries that not
# every system has.
set(DDPM_PACKAGE "" CACHE STRING "Lay out the installation for packages: DEB, TGZ, or empty for neither")
set(DDPM_MAINTAINER "ddpm.c maintainers <maintainers@users.noreply.github.com>" CACHE STRING
    "Name and address in Debian packages")
set(soname ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})

set(CPACK_PACKAGE_NAME ddpm)
set(CPACK_PACKAGE_VENDOR "ddpm.c")
set(CPACK_PACKAGE_CONTACT ${DDPM_MAINTAINER})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_GENERATOR ${DDPM_PACKAGE})
set(CPACK_STRIP_FILES ON)

# ddpm_deb(COMPONENT PACKAGE SECTION SUMMARY DESCRIPTION RELATIONS…): one .deb, if the component is built.
function(ddpm_deb component package section summary description)
  string(TOUPPER ${component} key)
  set(prefix CPACK_DEBIAN_${key}_PACKAGE)
  set(${prefix}_NAME ${package} PARENT_SCOPE)
  set(${prefix}_SECTION ${section} PARENT_SCOPE)
  set(CPACK_COMPONENT_${key}_DESCRIPTION "${summary}\n${description}" PARENT_SCOPE)
  set(CPACK_COMPONENTS_ALL ${CPACK_COMPONENTS_ALL} ${component} PARENT_SCOPE)
  set(documents ${CMAKE_INSTALL_DATADIR}/doc/${package})
  install(FILES ${PROJECT_SOURCE_DIR}/packaging/debian-copyright RENAME copyright DESTINATION ${documents}
          COMPONENT ${component})
  install(FILES ${PROJECT_BINARY_DIR}/changelog.gz DESTINATION ${documents} COMPONENT ${component})
endfunction()

if(DDPM_PACKAGE STREQUAL "DEB")
  if(NOT CMAKE_INSTALL_PREFIX STREQUAL "/usr")
    message(FATAL_ERROR "DDPM_PACKAGE=DEB: got the prefix ${CMAKE_INSTALL_PREFIX}, want -DCMAKE_INSTALL_PREFIX=/usr")
  endif()
  string(TIMESTAMP DDPM_PACKAGE_DATE "%a, %d %b %Y %H:%M:%S +0000" UTC) # or SOURCE_DATE_EPOCH
  configure_file(packaging/debian-changelog.in changelog @ONLY)
  execute_process(COMMAND gzip -9nkf ${PROJECT_BINARY_DIR}/changelog)
  set(more "Denoising diffusion models are trained on a folder of pictures and draw\nnew ones. No Python is needed.")
  set(CPACK_COMPONENTS_ALL "")
  ddpm_deb(program ddpm graphics "train diffusion models on pictures and draw new ones" "${more}")
  ddpm_deb(library libddpm${soname} libs "library of ddpm, for programs that draw pictures" "${more}")
  ddpm_deb(development libddpm-dev libdevel "headers of the library of ddpm" "${more}")
  foreach(plugin openmpi mpich cuda)
    if(TARGET ddpm_${plugin})
      ddpm_deb(${plugin} ddpm-${plugin} graphics "plug-in of ddpm for ${plugin}"
               "${more}\nThis package is the plug-in for ${plugin}.")
    endif()
  endforeach()
  set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "libddpm${soname} (= ${PROJECT_VERSION})")
  set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SUGGESTS "pkg-config, libjansson-dev, libpng-dev, libjpeg-dev, zlib1g-dev")
  set(CPACK_DEBIAN_PROGRAM_PACKAGE_SUGGESTS "bash-completion")
  # What cpack makes of itself would call ldconfig from scripts, where Debian has a trigger.
  file(WRITE ${PROJECT_BINARY_DIR}/shlibs "libddpm ${soname} libddpm${soname} (>= ${PROJECT_VERSION})\n")
  set(CPACK_DEBIAN_LIBRARY_PACKAGE_CONTROL_EXTRA ${PROJECT_SOURCE_DIR}/packaging/triggers
      ${PROJECT_BINARY_DIR}/shlibs)
  set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
  set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
  set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
  set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
  set(CPACK_DEB_COMPONENT_INSTALL ON)
  set(CPACK_COMPONENTS_GROUPING IGNORE)
  set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
  # Debian's manual pages are compressed, and its static libraries have no debugging symbols.
  install(CODE [[
    file(GLOB pages $ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}/share/man/man1/*.1)
    execute_process(COMMAND gzip -9nf ${pages})]] COMPONENT program)
  install(CODE "execute_process(COMMAND ${CMAKE_STRIP} --strip-debug
    \$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/libddpm.a)" COMPONENT development)
elseif(DDPM_PACKAGE STREQUAL "TGZ")
  set(CPACK_PACKAGE_FILE_NAME ddpm-${PROJECT_VERSION}-linux-${CMAKE_SYSTEM_PROCESSOR})
  install(FILES LICENSE README.md DESTINATION .)
  install(CODE "execute_process(COMMAND bash ${PROJECT_SOURCE_DIR}/packaging/bundle.sh
    \$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX} ${CMAKE_INSTALL_LIBDIR} COMMAND_ERROR_IS_FATAL ANY)")
elseif(DDPM_PACKAGE)
  message(FATAL_ERROR "DDPM_PACKAGE: got \"${DDPM_PACKAGE}\", want DEB or TGZ")
endif()
include(CPack)
