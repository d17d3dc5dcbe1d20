use std::time::Duration;
use weir_tests::{bench::{nginx::Nginx, feed, proc, ladder}, publisher::*, rtmp_url::RtmpUrl, browser::Browser};
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let d = tempfile::tempdir()?;
    let which = std::env::args().nth(1).unwrap_or_default();
    if which == "browser" {
        let b = Browser::start().await?;
        b.open("data:text/html,<p>hello <b>world").await?;
        println!("{:?} {:?} {:?}", b.visible_text().await?, b.stats().await?, b.value("1+1").await?);
        return b.close().await;
    }
    if which == "gst" {
        let file = d.path().join("l.flv");
        Source::default().video_kbps(1500).seconds(40).write_flv(&file).await?;
        let mut p = ladder::gst_launch(&file, "x264enc speed-preset=veryfast tune=zerolatency key-int-max=60")?;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let a = proc::cpu_seconds(p.pid().unwrap())?;
        tokio::time::sleep(Duration::from_secs(10)).await;
        p.must_run()?;
        println!("gst {} cpu s/min", (proc::cpu_seconds(p.pid().unwrap())?-a)*6.0);
        return Ok(());
    }
    let tags = feed::six_megabits(d.path()).await?;
    println!("{} tags, {} bytes", tags.len(), tags.iter().map(|t| t.body.len()).sum::<usize>());
    let mut n = Nginx::rtmp(d.path()).await?;
    let count: usize = which.parse().unwrap_or(1);
    let mut f = feed::Feed::start(&tags, &n.address, "bench", count, Duration::from_secs(60)).await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let pid = n.program.pid().unwrap();
    let a = proc::cpu_seconds(pid)?;
    let m = proc::cpu_seconds(std::process::id())?;
    tokio::time::sleep(Duration::from_secs(15)).await;
    f.must_run()?; n.program.must_run()?;
    println!("nginx {:.3} cpu s per stream minute; publishers {:.3}", (proc::cpu_seconds(pid)?-a)*4.0/count as f64, (proc::cpu_seconds(std::process::id())?-m)*4.0/count as f64);
    println!("{}", n.program.log());
    let url = RtmpUrl::new(&n.address, "live", "ff");
    let mut ff = Ffmpeg::publish(&Source::default(), &url)?;
    ff.publishing(Duration::from_secs(10)).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    println!("{}", ff.program.log_tail(5));
    std::process::Command::new("find").arg(d.path()).args(["-name","*.m3u8"]).status()?;
    Ok(())
}
