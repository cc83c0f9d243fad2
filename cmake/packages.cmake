# Packages by cpack: scripts/package.sh configures, builds and calls it. .deb files, one for each component that is
# built, when DDPM_PACKAGE is DEB; a .tar.gz that can be unpacked anywhere when it is TGZ, with the libraries that not
# every system has.
set(DDPM_PACKAGE "" CACHE STRING "Lay out the installation for packages: DEB, TGZ, or empty for neither")
# The project has no address: whoever distributes packages fills in their own.
set(maintainer "The authors of ddpm.c <ddpm.c@example.org>")
if(DEFINED ENV{DEBEMAIL})
  set(maintainer "$ENV{DEBFULLNAME} <$ENV{DEBEMAIL}>")
endif()
set(DDPM_MAINTAINER ${maintainer} CACHE STRING
    "Name and address in Debian packages; DEBFULLNAME and DEBEMAIL set them too")
set(soname ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})

set(CPACK_PACKAGE_NAME ddpm)
set(CPACK_PACKAGE_VENDOR "ddpm.c")
set(CPACK_PACKAGE_CONTACT ${DDPM_MAINTAINER})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_GENERATOR ${DDPM_PACKAGE})
set(CPACK_STRIP_FILES ON)

# ddpm_at_install(COMPONENT COMMAND): run it when the component has been installed. COMMAND_ERROR_IS_FATAL would need
# CMake 3.19: earlier versions pass it to the command.
set(installed "\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}")
function(ddpm_at_install component command)
  install(CODE "execute_process(COMMAND ${command} RESULT_VARIABLE result)
    if(result)
      message(FATAL_ERROR \"failed with ${command}: \${result}\")
    endif()" COMPONENT ${component})
endfunction()

# ddpm_deb(COMPONENT PACKAGE SECTION SUMMARY DESCRIPTION): one .deb.
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
  set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "") # or it is the first line of every package's description
  set(CPACK_COMPONENTS_ALL "")
  ddpm_deb(program ddpm graphics "train diffusion models on pictures and draw new ones"
           "ddpm learns from a folder of pictures and draws new ones, by denoising
diffusion. It trains, resumes, draws, evaluates and exports weights, without
Python. With the package ddpm-cuda it also runs on NVIDIA GPUs.")
  ddpm_deb(library libddpm${soname} libs "diffusion models of pictures - shared library"
           "This library trains denoising diffusion models on pictures, and draws from
them, inside other programs. The program ddpm does not need it.")
  ddpm_deb(development libddpm-dev libdevel "diffusion models of pictures - headers and static library"
           "This package is for compiling programs that use libddpm. It has files for
pkg-config and CMake.")
  set(about_openmpi "Open MPI" "ddpm and libddpm need this package to train in several processes that
Open MPI starts, on one or more machines.")
  set(about_mpich "MPICH" "ddpm and libddpm need this package to train in several processes of MPICH,
on one or more machines.")
  set(about_cuda "NVIDIA GPUs" "ddpm and libddpm need this package to train and draw on NVIDIA GPUs of
compute capability 8.0 or later. NVIDIA's driver is needed too. cuDNN and
NCCL are used if they are installed.")
  foreach(plugin openmpi mpich cuda)
    if(TARGET ddpm_${plugin})
      list(GET about_${plugin} 0 for)
      list(GET about_${plugin} 1 about)
      ddpm_deb(${plugin} ddpm-${plugin} graphics "diffusion models of pictures - plug-in for ${for}" "${about}")
      string(TOUPPER ${plugin} key)
      set(CPACK_DEBIAN_${key}_PACKAGE_DEPENDS "ddpm (= ${PROJECT_VERSION}) | libddpm${soname} (= ${PROJECT_VERSION})")
    endif()
  endforeach()
  set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "libddpm${soname} (= ${PROJECT_VERSION})")
  set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SUGGESTS "pkg-config, libjansson-dev, libpng-dev, libjpeg-dev, zlib1g-dev, \
libzip-dev, libwebp-dev, libtiff-dev")
  set(CPACK_DEBIAN_PROGRAM_PACKAGE_RECOMMENDS liblapacke) # loaded at run time, for Fréchet distances
  set(CPACK_DEBIAN_PROGRAM_PACKAGE_SUGGESTS "bash-completion, ddpm-cuda, ddpm-openmpi, ddpm-mpich")
  set(CPACK_DEBIAN_OPENMPI_PACKAGE_SUGGESTS "openmpi-bin")
  set(CPACK_DEBIAN_MPICH_PACKAGE_SUGGESTS "mpich")
  set(CPACK_DEBIAN_CUDA_PACKAGE_SUGGESTS "libcuda1, libnccl2, libcudnn9-cuda-13 | libcudnn9-cuda-12") # all by dlopen
  # What cpack generates by itself calls ldconfig in scripts, for which Debian has a trigger.
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
  ddpm_at_install(program "find ${installed}/share/man/man1 -name *.1 -exec gzip -9nf {} +") # as Debian's
elseif(DDPM_PACKAGE STREQUAL "TGZ")
  set(CPACK_PACKAGE_FILE_NAME ddpm-${PROJECT_VERSION}-linux-${CMAKE_SYSTEM_PROCESSOR})
  install(FILES LICENSE README.md DESTINATION .)
  ddpm_at_install(program "bash ${PROJECT_SOURCE_DIR}/packaging/bundle.sh ${installed} ${CMAKE_INSTALL_LIBDIR}")
elseif(DDPM_PACKAGE)
  message(FATAL_ERROR "DDPM_PACKAGE: got \"${DDPM_PACKAGE}\", want DEB or TGZ")
endif()
if(DDPM_PACKAGE) # cpack strips programs and shared libraries only
  ddpm_at_install(development "${CMAKE_STRIP} --strip-debug ${installed}/${CMAKE_INSTALL_LIBDIR}/libddpm.a")
endif()
include(CPack)
