// SPDX-License-Identifier: Apache-2.0

/// Parts of the commands' help that several share: a heading in capitals and indented lines, from which the manual
/// pages are made too.
enum HelpSections {
    static let serverFiles = """
        FILES
          ~/.bitfusion/servers.conf    the user's servers, one address a line
          /etc/bitfusion/servers.conf  the system's servers, when the user has none
        """

    static let listingStatus = """
        EXIT STATUS
          0   every server answered
          64  wrong usage
          69  a server did not answer; what the others said is printed
          77  not allowed: the user is not in the group of the list of servers
          78  wrong configuration
        """

    static let healthStatus = """
        EXIT STATUS
          0   everything passes
          1   something is marginal
          2   something is fatal
          64  wrong usage
          77  the server's checks may not be run by this user
          78  wrong configuration
        """

    static let healthFiles = """
        FILES
          ~/.bitfusion/servers.conf    the user's servers, one address a line
          /etc/bitfusion/servers.conf  the system's servers, when the user has none
          ~/.cache/bitfusion/health-counters.json
                                       counters of the last run, on a client
          /var/lib/bitfusion, ~/.local/state/bitfusion
                                       the daemon's files, on a server
        """

    static let requestFailures = """
          64  wrong usage
          69  no server was reached
          75  no GPUs within the time
          77  not allowed: the quota, or the user is not in the list's group
          78  wrong configuration
        """

    static let applicationStatus = """
          *   the application's, or 128 and the signal that ended it
        """

    static let applicationFailures = """
          126, 127  the application cannot be executed, or is not found
        """

    static let libraryFolder = """
          BITFUSION_LIB_DIR  the folder that has client/libcuda.so.1
        """

    static let applicationEnvironment = """
          BITFUSION_SERVER   set for the application: where its calls go
          BITFUSION_TICKET   set for the application: its right to the GPUs
          LD_LIBRARY_PATH    set for the application: begins with the client's libraries
          BITFUSION_TRACE    a file where the application's calls are recorded, for bitfusion trace;
                             %p stands for the process's number
        """

    static let allocationFiles = """
          ~/.bitfusion/allocations/ID.json  one allocation, readable by its user only
          $XDG_RUNTIME_DIR/bitfusion/allocations, /tmp/bitfusion-UID/allocations
                                            take its place where the home folder is read-only
        """

    static let allocationEnvironment = """
          BITFUSION_ALLOCATION  the file of an allocation, or its ID; wins over the newest one
        """
}
