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
    set_property(GLOBAL APPEND PROPERTY DOSNA_TABLES dn_backend_${name})
    set_property(GLOBAL APPEND PROPERTY DOSNA_BACKENDS ${name})
    set_property(GLOBAL APPEND PROPERTY DOSNA_OBJECTS dosna_backend_${name})
    set_property(GLOBAL APPEND PROPERTY DOSNA_LIBS ${ARG_LIBS})
endfunction()

# A backend that is loaded when it is used: NAME_options.c has dn_known_NAME and is part of libdosna, the sources make
# dosna-backend-NAME.so, in the folder "dosna" beside libdosna. Without sources the core knows of it all the same.
#   dosna_module(NAME source… [LIBS library…])
function(dosna_module name)
    cmake_parse_arguments(ARG "" "" "LIBS" ${ARGN})
    add_library(dosna_known_${name} OBJECT ${name}_options.c)
    target_link_libraries(dosna_known_${name} PRIVATE dosna_flags)
    set_property(GLOBAL APPEND PROPERTY DOSNA_OBJECTS dosna_known_${name})
    set_property(GLOBAL APPEND PROPERTY DOSNA_TABLES dn_known_${name})
    if(NOT ARG_UNPARSED_ARGUMENTS)
        return()
    endif()
    set_property(GLOBAL APPEND PROPERTY DOSNA_MODULES ${name})
    add_library(dosna_backend_${name} MODULE ${ARG_UNPARSED_ARGUMENTS})
    target_link_libraries(dosna_backend_${name} PRIVATE dosna_flags dosna ${ARG_LIBS})
    target_link_options(dosna_backend_${name} PRIVATE LINKER:--no-undefined)
    set_target_properties(dosna_backend_${name} PROPERTIES PREFIX "" NO_SONAME ON OUTPUT_NAME dosna-backend-${name}
                          LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/dosna")
    install(TARGETS dosna_backend_${name} DESTINATION "${CMAKE_INSTALL_LIBDIR}/dosna" COMPONENT ${name})
endfunction()

# libdosna.so for clients, and dosna_internal, the same objects as an archive whose tests see the layers.
function(dosna_library)
    get_property(tables GLOBAL PROPERTY DOSNA_TABLES)
    get_property(layers GLOBAL PROPERTY DOSNA_OBJECTS)
    get_property(libs GLOBAL PROPERTY DOSNA_LIBS)
    set(externs "")
    set(entries "")
    foreach(table IN LISTS tables)
        string(APPEND externs "extern const struct dn_backend ${table};\n")
        string(APPEND entries "    &${table},\n")
    endforeach()
    configure_file("${PROJECT_SOURCE_DIR}/cmake/registry.c.in" "${PROJECT_BINARY_DIR}/registry.c" @ONLY)

    set(objects "")
    foreach(layer IN LISTS layers)
        list(APPEND objects $<TARGET_OBJECTS:${layer}>)
    endforeach()
    add_library(dosna SHARED ${objects} "${PROJECT_BINARY_DIR}/registry.c")
    target_link_libraries(dosna PRIVATE dosna_flags ${libs})
    target_include_directories(dosna INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
        PRIVATE $<TARGET_PROPERTY:dosna_store,INTERFACE_INCLUDE_DIRECTORIES>)
    set_target_properties(dosna PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION 0 LINKER_LANGUAGE C)

    add_library(dosna_internal STATIC EXCLUDE_FROM_ALL ${objects} "${PROJECT_BINARY_DIR}/registry.c")
    target_compile_definitions(dosna_internal PRIVATE DOSNA_MODULES="${PROJECT_BINARY_DIR}/dosna")
    set_target_properties(dosna_internal PROPERTIES LINKER_LANGUAGE C)
    target_link_libraries(dosna_internal PUBLIC dosna_flags ${libs})
    foreach(layer base array store engine chunk door)
        target_include_directories(dosna_internal PUBLIC
            $<TARGET_PROPERTY:dosna_${layer},INTERFACE_INCLUDE_DIRECTORIES>)
    endforeach()
endfunction()

# A cmocka test of libdosna's inside: one program, one ctest entry of the same name.
#   dosna_test(NAME source… [LABELS label…] [TIMEOUT seconds])
function(dosna_test name)
    cmake_parse_arguments(ARG "" "TIMEOUT" "LABELS;LIBS" ${ARGN})
    add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
    target_link_libraries(${name} PRIVATE dosna_internal dosna_test_support ${ARG_LIBS})
    set_target_properties(${name} PROPERTIES ENABLE_EXPORTS ON) # a module finds dn_fail() and so on here first
    add_test(NAME ${name} COMMAND ${name})
    if(NOT ARG_TIMEOUT)
        set(ARG_TIMEOUT 120)
    endif()
    set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} SKIP_RETURN_CODE 77 LABELS "${ARG_LABELS}")
endfunction()
