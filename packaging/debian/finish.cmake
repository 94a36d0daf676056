# SPDX-License-Identifier: Apache-2.0
# Run by CPack when the files of all components are in place, one folder for each: adds what Debian alone wants.
if(NOT CPACK_GENERATOR STREQUAL DEB)
    return()
endif()
find_program(GZIP gzip REQUIRED)
foreach(component IN LISTS CPACK_COMPONENTS_ALL)
    string(TOUPPER ${component} upper)
    set(name ${CPACK_DEBIAN_${upper}_PACKAGE_NAME})
    set(share "${CPACK_TEMPORARY_DIRECTORY}/${component}${CPACK_PACKAGING_INSTALL_PREFIX}/share")
    set(changelog "${share}/doc/${name}/changelog.Debian")

    file(COPY "${CMAKE_CURRENT_LIST_DIR}/copyright" DESTINATION "${share}/doc/${name}")
    configure_file("${CMAKE_CURRENT_LIST_DIR}/changelog.in" "${changelog}" @ONLY)
    execute_process(COMMAND ${GZIP} -9n "${changelog}" COMMAND_ERROR_IS_FATAL ANY)
    configure_file("${CMAKE_CURRENT_LIST_DIR}/lintian-overrides" "${share}/lintian/overrides/${name}" COPYONLY)
    if(EXISTS "${share}/zsh/site-functions") # where zsh looks in Debian
        file(RENAME "${share}/zsh/site-functions" "${share}/zsh/vendor-completions")
    endif()
endforeach()
