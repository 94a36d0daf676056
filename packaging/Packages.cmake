# SPDX-License-Identifier: Apache-2.0
# The packages, .deb and .rpm, as far as the tools for them are there.
set(DOSNA_MAINTAINER "Nobody <nobody@localhost>" CACHE STRING "Who answers for the packages: NAME <ADDRESS>")

set(CPACK_GENERATOR "")
find_program(DPKG_SHLIBDEPS dpkg-shlibdeps)
find_program(RPMBUILD rpmbuild)
if(DPKG_SHLIBDEPS)
    list(APPEND CPACK_GENERATOR DEB)
endif()
if(RPMBUILD)
    list(APPEND CPACK_GENERATOR RPM)
endif()
if(NOT CPACK_GENERATOR)
    message(STATUS "Neither dpkg-shlibdeps nor rpmbuild: no packages")
    return()
endif()

set(CPACK_PACKAGE_NAME dosnafs)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "") # each has its own
set(CPACK_PACKAGE_VENDOR dosnafs)
set(CPACK_PACKAGE_CONTACT "${DOSNA_MAINTAINER}")
set(CPACK_PACKAGING_INSTALL_PREFIX "${CMAKE_INSTALL_PREFIX}")
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_STRIP_FILES ON)
set(CPACK_VERBATIM_VARIABLES ON)
set(release 1)
set(same "(= ${PROJECT_VERSION}-${release})")

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE ${release})
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS "${PROJECT_BINARY_DIR}")
set(CPACK_DEBIAN_DOSNAFS_PACKAGE_CONTROL_EXTRA "${CMAKE_CURRENT_SOURCE_DIR}/debian/conffiles")
file(WRITE "${CMAKE_CURRENT_BINARY_DIR}/shlibs" "libdosna 0 libdosna0 ${same}\n")
set(CPACK_DEBIAN_LIBDOSNA_PACKAGE_CONTROL_EXTRA
    "${CMAKE_CURRENT_SOURCE_DIR}/debian/triggers" "${CMAKE_CURRENT_BINARY_DIR}/shlibs")
set(CPACK_PRE_BUILD_SCRIPTS "${CMAKE_CURRENT_SOURCE_DIR}/debian/finish.cmake")

set(CPACK_RPM_COMPONENT_INSTALL ON)
set(CPACK_RPM_FILE_NAME RPM-DEFAULT)
set(CPACK_RPM_PACKAGE_LICENSE Apache-2.0)
set(CPACK_RPM_PACKAGE_RELEASE ${release})
set(CPACK_PACKAGE_RELOCATABLE OFF)
set(CPACK_RPM_DOSNAFS_USER_FILELIST "%config(noreplace) ${DOSNAFS_CONF}")
foreach(folder IN ITEMS "" /cmake /pkgconfig) # others' too
    list(APPEND CPACK_RPM_EXCLUDE_FROM_AUTO_FILELIST_ADDITION "${CMAKE_INSTALL_FULL_LIBDIR}${folder}")
endforeach()

#   package(COMPONENT debian-name rpm-name section "one line" "what else is to be said")
macro(package component deb rpm section summary text)
    string(TOUPPER ${component} upper)
    list(APPEND CPACK_COMPONENTS_ALL ${component})
    set(CPACK_COMPONENT_${upper}_DESCRIPTION "${summary}\n${text}")
    set(CPACK_DEBIAN_${upper}_PACKAGE_NAME ${deb})
    set(CPACK_DEBIAN_${upper}_PACKAGE_SECTION ${section})
    set(CPACK_RPM_${upper}_PACKAGE_NAME ${rpm})
    set(CPACK_RPM_${upper}_PACKAGE_SUMMARY "${summary}")
endmacro()

set(about "DosNa keeps large N-dimensional arrays as chunks in an object store: HDF5\nfiles in a folder, objects of Ceph or of S3.\n")
set(CPACK_COMPONENTS_ALL "")
package(dosnafs dosnafs dosnafs utils "chunked arrays in object stores, as plain files"
        "${about}dosnafs mounts such a store, so that every array is a file that any\nprogram can read and write.")
set(CPACK_DEBIAN_DOSNAFS_PACKAGE_DEPENDS "fuse3, libdosna0 ${same}")
set(CPACK_DEBIAN_DOSNAFS_PACKAGE_RECOMMENDS dosna)
set(CPACK_DEBIAN_DOSNAFS_PACKAGE_SUGGESTS "dosnafs-backend-ceph, dosnafs-backend-s3")
set(CPACK_RPM_DOSNAFS_PACKAGE_REQUIRES fuse3)
package(libdosna libdosna0 libdosna libs "chunked arrays in object stores, the library"
        "${about}This is the library under dosnafs and dosna.")
package(dev libdosna-dev libdosna-devel libdevel "chunked arrays in object stores, for developers"
        "${about}These are the headers of libdosna, and what pkg-config and CMake need to\nfind it.")
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS "libdosna0 ${same}")
set(CPACK_RPM_DEV_PACKAGE_REQUIRES "libdosna = ${PROJECT_VERSION}-${release}")
package(dosna dosna dosna utils "chunked arrays in object stores, from the shell"
        "${about}dosna creates, loads, reads, changes and checks them.")
set(CPACK_DEBIAN_DOSNA_PACKAGE_DEPENDS "libdosna0 ${same}")
get_property(modules GLOBAL PROPERTY DOSNA_MODULES)
foreach(module IN LISTS modules)
    string(TOUPPER ${module} upper)
    set(name dosnafs-backend-${module})
    package(${module} ${name} ${name} libs "chunked arrays in object stores, backend ${module}"
            "${about}This is what libdosna loads for the backend ${module}.")
    set(CPACK_DEBIAN_${upper}_PACKAGE_DEPENDS "libdosna0 ${same}")
endforeach()
include(CPack)
