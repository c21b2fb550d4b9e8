//! Ceph's gateway on loopback, with a monitor and objects in memory; nothing is installed and nobody is asked for a password.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// How long its parts may take to find each other.
const PATIENCE: Duration = Duration::from_secs(120);

/// Ceph's programs below a folder into which its packages were unpacked.
pub struct Ceph<'a> {
    root: &'a Path,
    conf: std::path::PathBuf,
}

impl<'a> Ceph<'a> {
    /// Writes the configuration of a cluster of one machine into an empty folder.
    pub fn new(root: &'a Path, dir: &Path, [monitor, gateway]: [u16; 2]) -> Result<Self, String> {
        let (libraries, at) = (libraries(root), dir.display());
        let (libraries, id) = (libraries.display(), uuid()?);
        let text = format!(
            "[global]
fsid = {id}
mon_host = v1:127.0.0.1:{monitor}
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
keyring = /dev/null
ms_bind_msgr2 = false
mon_data = {at}/mon
mon_data_avail_crit = 1
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
osd_data = {at}/osd
osd_objectstore = memstore
osd_class_dir = {libraries}/rados-classes
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
erasure_code_dir = {libraries}/ceph/erasure-code
plugin_dir = {libraries}/ceph
run_dir = {at}/run
admin_socket = {at}/run/$name.asok
pid_file = {at}/run/$name.pid
log_file = {at}/$name.log
[client.rgw]
rgw_frontends = beast endpoint=127.0.0.1:{gateway}
rgw_data = {at}/rgw
"
        );
        let told = |error: std::io::Error| error.to_string();
        for part in ["mon", "osd", "rgw", "run"] {
            fs::create_dir_all(dir.join(part)).map_err(told)?;
        }
        let ceph = Self { root, conf: dir.join("ceph.conf") };
        fs::write(&ceph.conf, text).map_err(told)?;
        let map = dir.join("monmap");
        let address = format!("[v1:127.0.0.1:{monitor}]");
        let mut made = Command::new(root.join("usr/bin/monmaptool"));
        ceph.done(
            ceph.around(&mut made).args(["--create", "--clobber", "--fsid", &id, "--addv", "a", &address]).arg(&map),
        )?;
        ceph.done(ceph.program("ceph-mon").args(["--mkfs", "-i", "a", "--monmap"]).arg(&map))?;
        Ok(ceph)
    }

    /// Returns the monitor, to be started first.
    pub fn monitor(&self) -> Command {
        let mut command = self.program("ceph-mon");
        command.args(["-i", "a", "-f"]);
        command
    }

    /// Starts what keeps the objects, once the monitor answers.
    pub fn keeper(&self) -> Result<Child, String> {
        let id = uuid()?;
        self.done(self.asked().args(["osd", "new", &id]))?;
        self.done(self.program("ceph-osd").args(["-i", "0", "--mkfs", "--osd-uuid", &id]))?;
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let mut command = self.program("ceph-osd");
            command.args(["-i", "0", "-f"]).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().map_err(|error| format!("ceph-osd: {error}"))?;
            // Now and then it speaks before it knows the cluster's id, is refused, and ends.
            while begun.elapsed() < PATIENCE && matches!(child.try_wait(), Ok(None)) {
                let stat = self.asked().args(["osd", "stat", "--format", "json"]).output();
                if stat.is_ok_and(|stat| String::from_utf8_lossy(&stat.stdout).contains("\"num_up_osds\":1")) {
                    return Ok(child);
                }
                sleep(Duration::from_millis(200));
            }
            let (_ended, _reaped) = (child.kill(), child.wait());
        }
        Err(format!("ceph-osd: it is not up after {} s", PATIENCE.as_secs()))
    }

    /// Returns the gateway.
    pub fn gateway(&self) -> Command {
        let mut command = self.program("radosgw");
        command.args(["-n", "client.rgw", "-f"]);
        command
    }

    /// Lets somebody in.
    pub fn user(&self, key: &str) -> Result<(), String> {
        let mut command = self.program("radosgw-admin");
        let (access, secret) = (format!("--access-key={key}"), format!("--secret-key={key}"));
        self.done(command.args(["user", "create", "--uid=tests", "--display-name=tests", &access, &secret]))
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.root.join("usr/bin").join(name));
        self.around(&mut command).arg("--conf").arg(&self.conf);
        command
    }

    /// Returns the program that asks the monitor.
    fn asked(&self) -> Command {
        let mut command = Command::new("python3");
        let packages = self.root.join("usr/lib/python3/dist-packages");
        self.around(&mut command).env("PYTHONPATH", packages).arg(self.root.join("usr/bin/ceph"));
        command.arg("--conf").arg(&self.conf).args(["--connect-timeout", "60"]);
        command
    }

    fn around<'b>(&self, command: &'b mut Command) -> &'b mut Command {
        let usual = libraries(self.root);
        let below = self.root.join("lib").join(usual.file_name().unwrap_or_default());
        let paths = format!("{}:{}:{}", usual.display(), usual.join("ceph").display(), below.display());
        command.env("LD_LIBRARY_PATH", paths).stdin(Stdio::null())
    }

    /// Waits for a program that ends by itself.
    fn done(&self, command: &mut Command) -> Result<(), String> {
        let name = command.get_program().to_string_lossy().into_owned();
        let told = |error: std::io::Error| format!("{name}: {error}");
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(told)?;
        let begun = Instant::now();
        loop {
            match child.try_wait().map_err(told)? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("{name}: {status}")),
                None if begun.elapsed() > PATIENCE => {
                    let (_killed, _reaped) = (child.kill(), child.wait());
                    return Err(format!("{name}: it is not done after {} s", PATIENCE.as_secs()));
                }
                None => sleep(Duration::from_millis(50)),
            }
        }
    }
}

/// Returns where the packages of this machine's kind have their libraries.
fn libraries(root: &Path) -> std::path::PathBuf {
    root.join("usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH))
}

fn uuid() -> Result<String, String> {
    let read = fs::read_to_string("/proc/sys/kernel/random/uuid").map_err(|error| error.to_string())?;
    Ok(read.trim().to_owned())
}
