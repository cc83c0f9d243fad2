# A room is a folder of src/: its sources are compiled once, as an object library ddpm_<room>, and linked into the
# library, the program and the tests that need them. Includes only go downward: USES declares this and
# scripts/check-includes.sh checks it.

find_package(Threads REQUIRED)

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

# ddpm_room(NAME [USES rooms…] [LINK libraries…]): the sources are listed in src/NAME/CMakeLists.txt. A room sees the
# headers of the libraries that the rooms it uses link.
function(ddpm_room name)
  cmake_parse_arguments(ROOM "" "" "USES;LINK" ${ARGN})
  add_library(ddpm_${name} OBJECT)
  target_include_directories(ddpm_${name} PUBLIC ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
  set(used ${ROOM_USES})
  list(TRANSFORM used PREPEND ddpm_)
  target_link_libraries(ddpm_${name} PUBLIC ddpm_flags ${used} ${ROOM_LINK})
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

# ddpm_outside_libraries(VARIABLE): the libraries from outside this project that the rooms link, each once.
function(ddpm_outside_libraries variable)
  get_property(rooms GLOBAL PROPERTY DDPM_ROOMS)
  set(libraries "")
  foreach(room ${rooms})
    get_target_property(linked ddpm_${room} LINK_LIBRARIES)
    list(APPEND libraries ${linked})
  endforeach()
  list(FILTER libraries EXCLUDE REGEX "^ddpm_") # flags and rooms
  list(FILTER libraries EXCLUDE REGEX "^::@") # CMake's markers for the folder that added a library
  list(REMOVE_DUPLICATES libraries)
  set(${variable} ${libraries} PARENT_SCOPE)
endfunction()

# The library, shared and static, from every room. Rooms compile with hidden symbols: only DDPM_API is exported.
function(ddpm_library)
  get_property(rooms GLOBAL PROPERTY DDPM_ROOMS)
  ddpm_outside_libraries(outside)
  add_library(ddpm_shared SHARED)
  add_library(ddpm_static STATIC)
  foreach(library ddpm_shared ddpm_static)
    set_target_properties(${library} PROPERTIES OUTPUT_NAME ddpm LINKER_LANGUAGE C)
    target_include_directories(${library} INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>)
    target_link_libraries(${library} PRIVATE ${outside})
    foreach(room ${rooms})
      target_sources(${library} PRIVATE $<TARGET_OBJECTS:ddpm_${room}>)
    endforeach()
  endforeach()
  set_target_properties(ddpm_shared PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
                        EXPORT_NAME ddpm)
  set_target_properties(ddpm_static PROPERTIES EXPORT_NAME static)
  # Never unload it: its threads may be asleep in it when the last user closes it.
  target_link_options(ddpm_shared PRIVATE LINKER:-z,nodelete $<$<NOT:$<BOOL:${DDPM_SANITIZE}>>:LINKER:--no-undefined>)
endfunction()
