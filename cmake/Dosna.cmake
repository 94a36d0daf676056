# SPDX-License-Identifier: Apache-2.0
# How this project's targets are made: flags in one place, and a function for each kind of target.

add_library(dosna_flags INTERFACE)
target_include_directories(dosna_flags INTERFACE "${PROJECT_SOURCE_DIR}/include")
target_compile_definitions(dosna_flags INTERFACE _GNU_SOURCE _FILE_OFFSET_BITS=64)
target_compile_options(dosna_flags INTERFACE
    -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes
    -Wwrite-strings -Wundef -Wvla -Wimplicit-fallthrough -fvisibility=hidden
    $<$<BOOL:${DOSNA_WERROR}>:-Werror>)
target_link_libraries(dosna_flags INTERFACE Threads::Threads)
if(DOSNA_SANITIZE)
    target_compile_options(dosna_flags INTERFACE -fsanitize=${DOSNA_SANITIZE} -fno-omit-frame-pointer)
    target_link_options(dosna_flags INTERFACE -fsanitize=${DOSNA_SANITIZE})
endif()

# A layer of libdosna: one folder of src/, which sees its own headers and those of the layers it names.
#   dosna_layer(NAME SOURCES … USES layer… LIBS library…)
function(dosna_layer name)
    cmake_parse_arguments(ARG "" "" "SOURCES;USES;LIBS" ${ARGN})
    add_library(dosna_${name} OBJECT ${ARG_SOURCES})
    target_include_directories(dosna_${name} PUBLIC "${CMAKE_CURRENT_SOURCE_DIR}")
    list(TRANSFORM ARG_USES PREPEND dosna_)
    target_link_libraries(dosna_${name} PUBLIC dosna_flags ${ARG_USES} PRIVATE ${ARG_LIBS})
    set_property(GLOBAL APPEND PROPERTY DOSNA_OBJECTS dosna_${name})
    set_property(GLOBAL APPEND PROPERTY DOSNA_LIBS ${ARG_LIBS})
endfunction()

# A backend: sees include/dosna and nothing of src/. Its table is dn_backend_NAME.
#   dosna_backend(NAME source… [LIBS library…])
function(dosna_backend name)
    cmake_parse_arguments(ARG "" "" "LIBS" ${ARGN})
    add_library(dosna_backend_${name} OBJECT ${ARG_UNPARSED_ARGUMENTS})
    target_link_libraries(dosna_backend_${name} PRIVATE dosna_flags ${ARG_LIBS})
    set_property(GLOBAL APPEND PROPERTY DOSNA_BACKENDS ${name})
    set_property(GLOBAL APPEND PROPERTY DOSNA_OBJECTS dosna_backend_${name})
    set_property(GLOBAL APPEND PROPERTY DOSNA_LIBS ${ARG_LIBS})
endfunction()

# libdosna.so for clients, and dosna_internal, the same objects as an archive whose tests see the layers.
function(dosna_library)
    get_property(backends GLOBAL PROPERTY DOSNA_BACKENDS)
    get_property(layers GLOBAL PROPERTY DOSNA_OBJECTS)
    get_property(libs GLOBAL PROPERTY DOSNA_LIBS)
    set(externs "")
    set(entries "")
    foreach(name IN LISTS backends)
        string(APPEND externs "extern const struct dn_backend dn_backend_${name};\n")
        string(APPEND entries "    &dn_backend_${name},\n")
    endforeach()
    configure_file("${PROJECT_SOURCE_DIR}/cmake/registry.c.in" "${PROJECT_BINARY_DIR}/registry.c" @ONLY)

    set(objects "")
    foreach(layer IN LISTS layers)
        list(APPEND objects $<TARGET_OBJECTS:${layer}>)
    endforeach()
    add_library(dosna_registry OBJECT "${PROJECT_BINARY_DIR}/registry.c")
    target_link_libraries(dosna_registry PRIVATE dosna_store)
    list(APPEND objects $<TARGET_OBJECTS:dosna_registry>)

    add_library(dosna SHARED ${objects})
    target_link_libraries(dosna PRIVATE dosna_flags ${libs})
    target_include_directories(dosna INTERFACE "${PROJECT_SOURCE_DIR}/include")
    set_target_properties(dosna PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION 0 LINKER_LANGUAGE C)

    add_library(dosna_internal STATIC EXCLUDE_FROM_ALL ${objects})
    set_target_properties(dosna_internal PROPERTIES LINKER_LANGUAGE C)
    target_link_libraries(dosna_internal PUBLIC dosna_flags ${libs})
    foreach(layer base array store engine chunk door)
        target_include_directories(dosna_internal INTERFACE
            $<TARGET_PROPERTY:dosna_${layer},INTERFACE_INCLUDE_DIRECTORIES>)
    endforeach()
endfunction()

# A cmocka test of libdosna's inside: one program, one ctest entry of the same name.
#   dosna_test(NAME source… [LABELS label…] [TIMEOUT seconds])
function(dosna_test name)
    cmake_parse_arguments(ARG "" "TIMEOUT" "LABELS;LIBS" ${ARGN})
    add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
    target_link_libraries(${name} PRIVATE dosna_internal dosna_test_support ${ARG_LIBS})
    add_test(NAME ${name} COMMAND ${name})
    if(NOT ARG_TIMEOUT)
        set(ARG_TIMEOUT 120)
    endif()
    set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} SKIP_RETURN_CODE 77 LABELS "${ARG_LABELS}")
endfunction()
