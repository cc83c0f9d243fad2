# A room is a folder of src/: its sources are compiled once, as an object library ddpm_<room>, and linked into the
# library, the program and the tests that need them. Includes go downward only, which USES states and
# scripts/check-includes.sh checks.

find_package(Threads REQUIRED)
find_package(OpenMP COMPONENTS C)
add_library(ddpm_openmp INTERFACE)
target_link_libraries(ddpm_openmp INTERFACE Threads::Threads)
if(OpenMP_C_FOUND)
  target_link_libraries(ddpm_openmp INTERFACE OpenMP::OpenMP_C)
endif()

add_library(ddpm_flags INTERFACE)
target_compile_options(ddpm_flags INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes
                       -Wmissing-prototypes -Wvla)
target_compile_definitions(ddpm_flags INTERFACE DDPM_VERSION="${PROJECT_VERSION}" _POSIX_C_SOURCE=200809L
                           _DEFAULT_SOURCE)
if(DDPM_WERROR)
  target_compile_options(ddpm_flags INTERFACE -Werror)
endif()
if(DDPM_SANITIZE)
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
endif()
if(DDPM_BUILD_FUZZERS)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

set(DDPM_ROOMS "")

# ddpm_room(NAME [USES rooms…] [LINK libraries…]): the sources are listed in src/NAME/CMakeLists.txt.
function(ddpm_room name)
  if(NOT EXISTS ${PROJECT_SOURCE_DIR}/src/${name}/CMakeLists.txt)
    return() # BOOTSTRAP
  endif()
  cmake_parse_arguments(ROOM "" "" "USES;LINK" ${ARGN})
  add_library(ddpm_${name} OBJECT)
  target_include_directories(ddpm_${name} PUBLIC ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(ddpm_${name} PUBLIC ddpm_flags ${ROOM_LINK})
  add_subdirectory(${PROJECT_SOURCE_DIR}/src/${name})
  set_property(GLOBAL PROPERTY DDPM_USES_${name} "${ROOM_USES}")
  set_property(GLOBAL APPEND PROPERTY DDPM_ROOMS ${name})
endfunction()

# ddpm_link_rooms(TARGET rooms…): link the objects of these rooms and of every room they use.
function(ddpm_link_rooms target)
  set(todo ${ARGN})
  set(done "")
  while(todo)
    list(POP_FRONT todo room)
    if(NOT room IN_LIST done)
      list(APPEND done ${room})
      get_property(uses GLOBAL PROPERTY DDPM_USES_${room})
      list(APPEND todo ${uses})
    endif()
  endwhile()
  list(TRANSFORM done PREPEND ddpm_)
  target_link_libraries(${target} PRIVATE ${done})
endfunction()

# The library, shared and static, from every room.
function(ddpm_library)
  get_property(rooms GLOBAL PROPERTY DDPM_ROOMS)
  add_library(ddpm_shared SHARED)
  add_library(ddpm_static STATIC)
  foreach(library ddpm_shared ddpm_static)
    set_target_properties(${library} PROPERTIES OUTPUT_NAME ddpm VERSION ${PROJECT_VERSION}
                          SOVERSION ${PROJECT_VERSION_MAJOR})
    target_include_directories(${library} INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                               $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
    foreach(room ${rooms})
      target_sources(${library} PRIVATE $<TARGET_OBJECTS:ddpm_${room}>)
      target_link_libraries(${library} PRIVATE $<TARGET_PROPERTY:ddpm_${room},LINK_LIBRARIES>)
    endforeach()
  endforeach()
endfunction()
