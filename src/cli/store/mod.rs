//! `bantam store`

mod picture;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bantam::archive::Progress;
use bantam::store::{
    AddOptions, Collected, Family, GcOptions, Location, Planned, Repair, Share, Stats, Store, StoreError,
    VersionName, models_in,
};
use clap::builder::{OsStringValueParser, TypedValueParser};
use serde_json::{Value, json};

use super::progress::Bar;
use super::{Jobs, Result, failure, interrupt, print, sizes, text_file};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make a store of an empty folder, of one that is not there yet, or of a place in a bucket where nothing is
    Init {
        #[command(flatten)]
        at: StoreArg,
        /// For how long a server's lists may be wrong after something was created or deleted; those of Amazon, Google and
        /// Azure never are
        #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
        late_lists: Duration,
    },
    /// Add a model; tensors that the store has are not stored again, and fine-tuned ones as differences
    Add {
        #[command(flatten)]
        at: StoreArg,
        /// Model folder or file, compressed or not
        model: PathBuf,
        /// Name of the model in the store, such as org/name; by default that of its folder or file
        #[arg(long)]
        name: Option<String>,
        /// The stored model that it was made from; by default one whose weights look alike
        #[arg(long, value_name = "NAME[@VERSION]")]
        base: Option<String>,
        #[command(flatten)]
        jobs: Jobs,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Say what adding a model would do: what of it is there, what it would be compared to, and how much would be
    /// written. All of it is read, and nothing is written
    Plan {
        #[command(flatten)]
        at: StoreArg,
        /// Model folder or file, compressed or not
        model: PathBuf,
        /// The stored model that it was made from; by default one whose weights look alike
        #[arg(long, value_name = "NAME[@VERSION]")]
        base: Option<String>,
        #[command(flatten)]
        jobs: Jobs,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Add all models in a folder, or a worker's share of them; models that are there already cost a reading
    Ingest {
        #[command(flatten)]
        at: StoreArg,
        /// Folder with model folders, or a hub's cache
        folder: PathBuf,
        /// Add the share of worker I of N, from 1/N to N/N, which together add all
        #[arg(long, value_name = "I/N", value_parser = share)]
        part: Option<Share>,
        #[command(flatten)]
        jobs: Jobs,
        /// Print one JSON object for each model
        #[arg(long)]
        json: bool,
    },
    /// List the models
    List {
        #[command(flatten)]
        at: StoreArg,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show the files of a model
    Show {
        #[command(flatten)]
        at: StoreArg,
        /// The model
        #[arg(value_name = "NAME[@VERSION]")]
        name: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Restore a model's files, byte for byte
    Get {
        #[command(flatten)]
        at: StoreArg,
        /// The model
        #[arg(value_name = "NAME[@VERSION]")]
        name: String,
        /// The new folder
        #[arg(short, long, value_name = "FOLDER")]
        output: PathBuf,
        /// Write a compressed folder, as `bantam compress` makes it
        #[arg(long)]
        compressed: bool,
        #[command(flatten)]
        jobs: Jobs,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Remove a model from the list, all its versions; its bytes stay in the store until `gc`
    Rm {
        #[command(flatten)]
        at: StoreArg,
        /// The model
        name: String,
    },
    /// Delete what no model needs any more; others may add and restore meanwhile
    Gc(Collecting),
    /// Look for better bases among all models, store differences anew where that takes fewer bytes, and delete what is not
    /// needed any more; others may add and restore meanwhile
    Optimize(Collecting),
    /// Check that all objects are there and have their checksums
    Check {
        #[command(flatten)]
        at: StoreArg,
        /// Decode and hash every piece, too
        #[arg(long)]
        full: bool,
        /// Decode and hash share I of N of the pieces, too: all of them in N checks, from 1/N to N/N
        #[arg(long, value_name = "I/N", value_parser = share, conflicts_with = "full")]
        read: Option<Share>,
        #[command(flatten)]
        jobs: Jobs,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Make the index again from the packs, and rescue what damaged packs still have; nobody may add
    /// meanwhile
    Repair {
        #[command(flatten)]
        at: StoreArg,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show what the store saves, and by what
    Stats {
        #[command(flatten)]
        at: StoreArg,
        /// Draw the families and their models, too, as an SVG file, in place of what is there
        #[arg(long, value_name = "FILE")]
        picture: Option<PathBuf>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// The store that a command is about.
#[derive(clap::Args)]
struct StoreArg {
    /// The store: a folder, or a place in a bucket such as s3://bucket/prefix
    #[arg(value_parser = OsStringValueParser::new().try_map(|text| Location::parse(&text)))]
    store: Location,
}

/// What commands are told that delete what no model needs.
#[derive(clap::Args)]
struct Collecting {
    #[command(flatten)]
    at: StoreArg,
    /// End the sessions of writers that began so many hours ago; those that are still writing get an error
    #[arg(long, value_name = "HOURS", default_value = "24", value_parser = hours)]
    expire: Duration,
    #[command(flatten)]
    jobs: Jobs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Collecting {
    /// Does one of these things to the store.
    fn run<T: Send>(
        &self,
        what: impl FnOnce(Location, &GcOptions, &dyn Progress) -> std::result::Result<T, StoreError> + Send,
    ) -> Result<T> {
        let options = GcOptions::default().with_expire(self.expire);
        Ok(self.jobs.run(|| what(self.at.store.clone(), &options, &Bar::default()))??)
    }
}

impl Args {
    /// Whether the command writes something that it cleans up when it is interrupted.
    pub fn writes(&self) -> bool {
        matches!(
            self.command,
            Command::Add { .. }
                | Command::Ingest { .. }
                | Command::Get { .. }
                | Command::Gc(_)
                | Command::Optimize(_)
        )
    }
}

pub fn run(args: &Args) -> Result<ExitCode> {
    match &args.command {
        Command::Init { at: StoreArg { store }, late_lists } => {
            Store::init_with_late_lists(store, *late_lists)?;
            print::line(format_args!("{}: an empty store", store.display()))?;
        }
        Command::Add { at: StoreArg { store }, model, name, base, jobs, json } => {
            let base = base.as_deref().map(VersionName::parse).transpose()?;
            let options = AddOptions::default().with_name(name.clone()).with_base(base);
            add(&mut Store::open(store)?, model, &options, jobs, *json)?;
        }
        Command::Plan { at: StoreArg { store }, model, base, jobs, json } => {
            let base = base.as_deref().map(VersionName::parse).transpose()?;
            let options = AddOptions::default().with_base(base);
            plan(&Store::open(store)?, model, &options, jobs, *json)?;
        }
        Command::Ingest { at: StoreArg { store }, folder, part, jobs, json } => {
            return ingest(store, folder, part.unwrap_or(Share::ALL), jobs, *json);
        }
        Command::List { at: StoreArg { store }, json } => list(&Store::open(store)?, *json)?,
        Command::Show { at: StoreArg { store }, name, json } => show(&Store::open(store)?, name, *json)?,
        Command::Get { at: StoreArg { store }, name, output, compressed, jobs, json } => {
            let (opened, name) = (Store::open(store)?, VersionName::parse(name)?);
            let began = Instant::now();
            let got = jobs.run(|| opened.get(&name, output, *compressed, &Bar::default()))??;
            let seconds = began.elapsed();
            if *json {
                print::line(json!({
                    "name": got.version.model, "version": got.version.number, "original_bytes": got.original_bytes,
                    "stored_bytes": got.stored_bytes, "seconds": seconds.as_secs_f64(),
                }))?;
            } else {
                let (size, speed) =
                    (sizes::megabytes(got.original_bytes), sizes::speed(got.original_bytes, seconds));
                print::line(format_args!("{}: {size}{speed}, all hashes match", output.display()))?;
            }
        }
        Command::Rm { at: StoreArg { store }, name } => {
            Store::open(store)?.remove(name)?;
            print::line(format_args!("{name}: removed; `bantam store gc` deletes what nobody else needs"))?;
        }
        Command::Gc(args) => gc(args)?,
        Command::Optimize(args) => optimize(args)?,
        Command::Check { at: StoreArg { store }, full, read, jobs, json } => {
            let read = if *full { Some(Share::ALL) } else { *read };
            let check = jobs.run(|| Store::check(store, read, &Bar::default()))??;
            for fault in &check.failures {
                print::error_line(&failure::chain(&fault.error));
            }
            let ok = check.failures.is_empty();
            if *json {
                let fault = |fault: &bantam::store::CheckFailure| {
                    let error = failure::chain(&fault.error);
                    json!({ "object": fault.object, "model": fault.model, "error": error })
                };
                let failures: Vec<Value> = check.failures.iter().map(fault).collect();
                print::line(json!({ "ok": ok, "objects": check.objects, "failures": failures }))?;
            } else {
                let faults = if ok { "no faults".into() } else { format!("{} faults", check.failures.len()) };
                print::line(format_args!("{}: {} objects, {faults}", store.display(), check.objects))?;
            }
            return Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Repair { at: StoreArg { store }, json } => return repair(store, *json),
        Command::Stats { at: StoreArg { store }, picture, json } => {
            let found = Store::open(store)?.stats()?;
            if let Some(path) = picture {
                // There is little room for a path.
                let name = store.name().to_string_lossy();
                text_file::write(path, &picture::tree(&name, &found)?, true)?;
            }
            stats(&found, *json)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Adds a model, and prints what that did.
fn add(store: &mut Store, model: &Path, options: &AddOptions, jobs: &Jobs, as_json: bool) -> Result<()> {
    let began = Instant::now();
    let added = jobs.run(|| store.add(model, options, &Bar::default()))??;
    let (seconds, name) = (began.elapsed(), format!("{}@{}", added.version.model, added.version.number));
    let (original, stored) = (added.original_bytes, added.stored_bytes);
    if as_json {
        return print::line(json!({
            "name": added.version.model, "version": added.version.number, "was_there": added.was_there,
            "manifest": added.version.manifest, "base": added.base, "original_bytes": original,
            "stored_bytes": stored, "seconds": seconds.as_secs_f64(),
        }));
    }
    if added.was_there {
        return print::line(format_args!("{name}: it was there already"));
    }
    let (from, to) = (sizes::megabytes(original), sizes::megabytes(stored));
    print::line(format_args!("{name}: {from} added, {to} written{}", sizes::speed(original, seconds)))
}

/// Prints what adding a model would do.
fn plan(store: &Store, model: &Path, options: &AddOptions, jobs: &Jobs, as_json: bool) -> Result<()> {
    let Planned { original_bytes, there_bytes, stored_bytes, base } =
        jobs.run(|| store.plan(model, options, &Bar::default()))??;
    let base = match base {
        Some(manifest) => store.list()?.into_iter().find(|version| version.manifest == manifest),
        None => None,
    };
    let base = base.map(|version| format!("{}@{}", version.model, version.number));
    if as_json {
        return print::line(json!({
            "original_bytes": original_bytes, "there_bytes": there_bytes, "stored_bytes": stored_bytes, "base": base,
        }));
    }
    let size = sizes::megabytes;
    let (whole, there, written) = (size(original_bytes), size(there_bytes), size(stored_bytes));
    let base = base.map_or("nothing that looks alike".into(), |base| format!("compared to {base}"));
    print::line(format_args!(
        "{}: {whole}, {there} are there; about {written} to write; {base}",
        model.display()
    ))
}

/// A share, such as 1/4.
fn share(text: &str) -> std::result::Result<Share, String> {
    let numbers = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    numbers
        .and_then(|(i, n)| Share::new(i, n))
        .ok_or("this is no share such as 1/4, the first of four".into())
}

/// Adds a share of the models in a folder. One that cannot be added is named, and does not keep others from it.
fn ingest(store: &Location, folder: &Path, share: Share, jobs: &Jobs, as_json: bool) -> Result<ExitCode> {
    let mut opened = Store::open(store)?;
    let (mut added, mut failed) = (0, 0);
    for model in models_in(folder)?.into_iter().filter(|model| share.has(&model.name)) {
        let options = AddOptions::default().with_name(Some(model.name));
        match add(&mut opened, &model.path, &options, jobs, as_json) {
            Ok(()) => added += 1,
            Err(error) if interrupt::interrupted() || failure::is_closed_pipe(&*error) => return Err(error),
            Err(error) => {
                print::error_line(&format!("{}: {}", model.path.display(), failure::chain(&*error)));
                failed += 1;
            }
        }
    }
    if !as_json {
        print::line(format_args!("{}: {added} models are there, {failed} failed", store.display()))?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn list(store: &Store, as_json: bool) -> Result<()> {
    let versions = store.list()?;
    if as_json {
        let version = |v: &bantam::store::Version| json!({ "name": v.model, "version": v.number, "manifest": v.manifest });
        return print::line(json!({ "models": versions.iter().map(version).collect::<Vec<_>>() }));
    }
    for version in versions {
        let size = sizes::megabytes(store.manifest(&version)?.bytes());
        print::line(format_args!("{}@{}  {size}", version.model, version.number))?;
    }
    Ok(())
}

fn show(store: &Store, name: &str, as_json: bool) -> Result<()> {
    let version = store.version(&VersionName::parse(name)?)?;
    let manifest = store.manifest(&version)?;
    if as_json {
        let file = |f: &bantam::store::ManifestFile| json!({ "path": f.path, "bytes": f.bytes, "blake3": f.blake3, "tensors": f.tensors.len() });
        let files: Vec<Value> = manifest.files.iter().map(file).collect();
        return print::line(json!({ "name": version.model, "version": version.number, "files": files }));
    }
    for file in &manifest.files {
        let tensors = match file.tensors.len() {
            0 => String::new(),
            count => format!(", {count} tensors"),
        };
        print::line(format_args!("{}  {}{tensors}", file.path, sizes::megabytes(file.bytes)))?;
    }
    Ok(())
}

/// A number of hours, such as 24 or 0.5.
fn hours(text: &str) -> std::result::Result<Duration, String> {
    let hours: f64 = text.parse().map_err(|_| "this is no number".to_string())?;
    Duration::try_from_secs_f64(hours * 3600.0).map_err(|_| "this is no number of hours from 0 on".into())
}

/// A number of seconds, such as 10 or 0.5, up to an hour.
fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "this is no number".to_string())?;
    let time = Duration::try_from_secs_f64(seconds).ok().filter(|time| time.as_secs() < 3600);
    time.ok_or("this is no number of seconds from 0 to 3599".into())
}

fn gc(args: &Collecting) -> Result<()> {
    let done = args.run(Store::gc)?;
    if args.json {
        return print::line(collected_json(&done));
    }
    collected(&args.at.store, &done)
}

fn collected_json(done: &Collected) -> Value {
    json!({
        "deleted_packs": done.deleted_packs, "deleted_bytes": done.deleted_bytes,
        "kept_bytes": done.kept_bytes, "waiting_packs": done.waiting_packs,
        "open_sessions": done.open_sessions, "expired_sessions": done.expired_sessions,
    })
}

/// Prints what was collected.
fn collected(store: &Location, done: &Collected) -> Result<()> {
    for session in &done.expired_sessions {
        print::line(format_args!("session {session}: ended, because it began too long ago"))?;
    }
    let freed = done.deleted_bytes.saturating_sub(done.kept_bytes);
    let (store, freed) = (store.display(), sizes::megabytes(freed));
    print::line(format_args!("{store}: {} packs deleted, {freed} freed", done.deleted_packs))?;
    if done.waiting_packs > 0 {
        let open = done.open_sessions.join(", ");
        print::line(format_args!(
            "{} packs wait until these sessions have ended: {open}. If nobody is writing any more, --expire 0 ends them",
            done.waiting_packs
        ))?;
    }
    Ok(())
}

/// Looks for better bases, and prints what that did.
fn optimize(args: &Collecting) -> Result<()> {
    let done = args.run(Store::optimize)?;
    if args.json {
        return print::line(json!({
            "families": done.families, "changed_families": done.changed_families,
            "recoded_pieces": done.recoded_pieces, "before_bytes": done.before_bytes,
            "after_bytes": done.after_bytes, "collected": collected_json(&done.collected),
        }));
    }
    let (families, changed) = (done.families, done.changed_families);
    let (before, after) = (sizes::megabytes(done.before_bytes), sizes::megabytes(done.after_bytes));
    print::line(format_args!(
        "{}: {families} families, better bases for {changed}; {} pieces stored anew; {before} before, {after} now",
        args.at.store.display(),
        done.recoded_pieces
    ))?;
    collected(&args.at.store, &done.collected)
}

fn repair(store: &Location, as_json: bool) -> Result<ExitCode> {
    let repair = Store::repair(store)?;
    for piece in &repair.lost {
        print::error_line(&format!("piece {piece} is lost; `bantam store check` says which models need it"));
    }
    if as_json {
        print::line(json!({
            "found": repair.found, "rescued": repair.rescued, "lost": repair.lost, "deleted": repair.deleted,
        }))?;
    } else {
        let Repair { found, rescued, lost, deleted } = &repair;
        let (store, lost, deleted) = (store.display(), lost.len(), deleted.len());
        print::line(format_args!(
            "{store}: {found} pieces found again, {rescued} rescued, {lost} lost; {deleted} damaged objects deleted"
        ))?;
    }
    Ok(if repair.lost.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn stats(stats: &Stats, as_json: bool) -> Result<()> {
    if as_json {
        let family = |family: &Family| {
            json!({
                "models": family.models, "original_bytes": family.original_bytes,
                "stored_bytes": family.stored_bytes,
            })
        };
        let saved = json!({ "dedup": stats.saved_by_dedup, "deltas": stats.saved_by_deltas, "coding": stats.saved_by_coding });
        return print::line(json!({
            "models": stats.models, "tensors": stats.tensors, "original_bytes": stats.original_bytes,
            "stored_bytes": stats.stored_bytes, "saved_by": saved,
            "families": stats.families.iter().map(family).collect::<Vec<_>>(),
        }));
    }
    let size = sizes::megabytes;
    print::line(format_args!("{} models, {} tensors", stats.models, stats.tensors))?;
    print::line(sizes::change(stats.original_bytes, stats.stored_bytes))?;
    print::line(format_args!("saved because they were there: {}", size(stats.saved_by_dedup)))?;
    print::line(format_args!("saved by differences: {}", size(stats.saved_by_deltas)))?;
    print::line(format_args!("saved by coding: {}", size(stats.saved_by_coding)))?;
    for family in &stats.families {
        let (from, to) = (size(family.original_bytes), size(family.stored_bytes));
        print::line(format_args!("family of {}: {from} in {to}", family.models.join(", ")))?;
    }
    Ok(())
}
