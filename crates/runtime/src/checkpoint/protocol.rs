//! The messages of CRIU's RPC (criu.org, "API", "RPC"): the parts that we use. Numbers are those of its `rpc.proto`.

/// What a message is about (`criu_req_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Kind {
    Empty = 0,
    Dump = 1,
    Restore = 2,
    PreDump = 4,
    Notify = 6,
    FeatureCheck = 9,
    Version = 10,
}

/// `criu_cg_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum CgroupMode {
    Ignore = 0,
    Soft = 3,
    Full = 4,
    Strict = 5,
}

/// `criu_network_lock_method`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum LockMethod {
    Iptables = 1,
    Nftables = 2,
    Skip = 3,
}

/// `criu_page_server_info`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PageServerInfo {
    #[prost(string, optional, tag = "1")]
    pub(super) address: Option<String>,
    #[prost(int32, optional, tag = "2")]
    pub(super) port: Option<i32>,
}

/// `ext_mount_map`: on dump the place of a mount and a name for it, on restore that name and where it comes from.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ExternalMount {
    #[prost(string, required, tag = "1")]
    pub(super) key: String,
    #[prost(string, required, tag = "2")]
    pub(super) val: String,
}

/// `join_namespace`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct JoinNamespace {
    #[prost(string, required, tag = "1")]
    pub(super) ns: String,
    #[prost(string, required, tag = "2")]
    pub(super) ns_file: String,
}

/// `inherit_fd`: the name of an external object, and the number of a descriptor of the program's for it.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct InheritFd {
    #[prost(string, required, tag = "1")]
    pub(super) key: String,
    #[prost(int32, required, tag = "2")]
    pub(super) fd: i32,
}

/// `cgroup_root`: where the groups of the restored processes begin.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CgroupRoot {
    #[prost(string, optional, tag = "1")]
    pub(super) ctrl: Option<String>,
    #[prost(string, required, tag = "2")]
    pub(super) path: String,
}

/// `criu_opts`. Descriptors of directories are numbers of the caller's, not of the program's.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Opts {
    #[prost(int32, required, tag = "1")]
    pub(super) images_dir_fd: i32,
    #[prost(int32, optional, tag = "2")]
    pub(super) pid: Option<i32>,
    #[prost(bool, optional, tag = "3")]
    pub(super) leave_running: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    pub(super) ext_unix_sk: Option<bool>,
    #[prost(bool, optional, tag = "5")]
    pub(super) tcp_established: Option<bool>,
    #[prost(bool, optional, tag = "6")]
    pub(super) evasive_devices: Option<bool>,
    #[prost(bool, optional, tag = "7")]
    pub(super) shell_job: Option<bool>,
    #[prost(bool, optional, tag = "8")]
    pub(super) file_locks: Option<bool>,
    #[prost(int32, optional, tag = "9")]
    pub(super) log_level: Option<i32>,
    #[prost(string, optional, tag = "10")]
    pub(super) log_file: Option<String>,
    #[prost(message, optional, tag = "11")]
    pub(super) ps: Option<PageServerInfo>,
    #[prost(bool, optional, tag = "12")]
    pub(super) notify_scripts: Option<bool>,
    #[prost(string, optional, tag = "13")]
    pub(super) root: Option<String>,
    #[prost(string, optional, tag = "14")]
    pub(super) parent_img: Option<String>,
    #[prost(bool, optional, tag = "15")]
    pub(super) track_mem: Option<bool>,
    #[prost(bool, optional, tag = "16")]
    pub(super) auto_dedup: Option<bool>,
    #[prost(int32, optional, tag = "17")]
    pub(super) work_dir_fd: Option<i32>,
    #[prost(bool, optional, tag = "18")]
    pub(super) link_remap: Option<bool>,
    #[prost(message, repeated, tag = "23")]
    pub(super) ext_mnt: Vec<ExternalMount>,
    /// The older way to say `manage_cgroups_mode`.
    #[prost(bool, optional, tag = "24")]
    pub(super) manage_cgroups: Option<bool>,
    #[prost(message, repeated, tag = "25")]
    pub(super) cg_root: Vec<CgroupRoot>,
    #[prost(bool, optional, tag = "26")]
    pub(super) rst_sibling: Option<bool>,
    #[prost(message, repeated, tag = "27")]
    pub(super) inherit_fd: Vec<InheritFd>,
    #[prost(enumeration = "CgroupMode", optional, tag = "34")]
    pub(super) manage_cgroups_mode: Option<i32>,
    #[prost(string, repeated, tag = "37")]
    pub(super) external: Vec<String>,
    #[prost(uint32, optional, tag = "38")]
    pub(super) empty_ns: Option<u32>,
    #[prost(message, repeated, tag = "39")]
    pub(super) join_ns: Vec<JoinNamespace>,
    #[prost(string, optional, tag = "44")]
    pub(super) freeze_cgroup: Option<String>,
    #[prost(bool, optional, tag = "46")]
    pub(super) tcp_skip_in_flight: Option<bool>,
    #[prost(bool, optional, tag = "48")]
    pub(super) lazy_pages: Option<bool>,
    #[prost(bool, optional, tag = "50")]
    pub(super) orphan_pts_master: Option<bool>,
    #[prost(string, optional, tag = "51")]
    pub(super) config_file: Option<String>,
    #[prost(bool, optional, tag = "52")]
    pub(super) tcp_close: Option<bool>,
    #[prost(string, optional, tag = "53")]
    pub(super) lsm_profile: Option<String>,
    #[prost(string, optional, tag = "63")]
    pub(super) lsm_mount_context: Option<String>,
    #[prost(enumeration = "LockMethod", optional, tag = "64")]
    pub(super) network_lock: Option<i32>,
}

/// `criu_features`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Features {
    #[prost(bool, optional, tag = "1")]
    pub(super) mem_track: Option<bool>,
    #[prost(bool, optional, tag = "2")]
    pub(super) lazy_pages: Option<bool>,
}

/// `criu_req`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Request {
    #[prost(enumeration = "Kind", required, tag = "1")]
    pub(super) kind: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) opts: Option<Opts>,
    #[prost(bool, optional, tag = "3")]
    pub(super) notify_success: Option<bool>,
    #[prost(message, optional, tag = "5")]
    pub(super) features: Option<Features>,
}

impl Request {
    /// One that asks for something without options.
    pub(super) fn of(kind: Kind) -> Self {
        Self { kind: kind.into(), ..Self::default() }
    }
}

/// `criu_notify`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Notification {
    #[prost(string, optional, tag = "1")]
    pub(super) script: Option<String>,
    #[prost(int32, optional, tag = "2")]
    pub(super) pid: Option<i32>,
}

/// `criu_version`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct VersionInfo {
    #[prost(int32, required, tag = "1")]
    pub(super) major_number: i32,
    #[prost(int32, required, tag = "2")]
    pub(super) minor_number: i32,
    #[prost(int32, optional, tag = "4")]
    pub(super) sublevel: Option<i32>,
}

/// `criu_resp`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Response {
    #[prost(enumeration = "Kind", required, tag = "1")]
    pub(super) kind: i32,
    #[prost(bool, required, tag = "2")]
    pub(super) success: bool,
    #[prost(message, optional, tag = "5")]
    pub(super) notify: Option<Notification>,
    #[prost(int32, optional, tag = "7")]
    pub(super) cr_errno: Option<i32>,
    #[prost(message, optional, tag = "8")]
    pub(super) features: Option<Features>,
    #[prost(string, optional, tag = "9")]
    pub(super) cr_errmsg: Option<String>,
    #[prost(message, optional, tag = "10")]
    pub(super) version: Option<VersionInfo>,
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn a_request_is_written_as_the_program_reads_it() {
        let opts = Opts { images_dir_fd: 5, pid: Some(300), empty_ns: Some(0x4000_0000), ..Opts::default() };
        let request = Request { opts: Some(opts), ..Request::of(Kind::Dump) };
        // Field 1, varint 1; field 2, 12 bytes: field 1 = 5, field 2 = 300, field 38 = 0x40000000.
        let expected = [8, 1, 18, 12, 8, 5, 16, 172, 2, 176, 2, 128, 128, 128, 128, 4];
        assert_eq!(request.encode_to_vec(), expected);
        // What is required is there even when it is zero.
        assert_eq!(Request::of(Kind::Empty).encode_to_vec(), [8, 0]);
    }

    #[test]
    fn an_answer_with_fields_we_do_not_know_is_read() {
        let bytes = [8, 10, 16, 1, 82, 6, 8, 3, 16, 17, 32, 1, 90, 1, 120];
        let response = Response::decode(bytes.as_slice()).unwrap();
        assert!(response.success && response.kind == i32::from(Kind::Version));
        let version = response.version.unwrap();
        assert_eq!((version.major_number, version.minor_number, version.sublevel), (3, 17, Some(1)));
        assert!(Response::decode([8, 10, 16].as_slice()).is_err());
    }
}
