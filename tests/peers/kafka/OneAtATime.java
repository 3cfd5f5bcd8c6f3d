import java.io.FileInputStream;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Properties;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Sends 100 bytes so many times a second and consumes them in the same process, each timed from the moment it was
 * due: a late sender counts against the figure. Prints quantiles in milliseconds as JSON.
 *
 * <p>java OneAtATime.java SERVERS PROPERTIES TOPIC RATE RECORDS
 */
public final class OneAtATime {
  /** Records before the clock runs: the virtual machine compiles what it runs often. */
  private static final int WARM_UP = 5_000;

  private static final Duration PATIENCE = Duration.ofSeconds(60);

  public static void main(String[] arguments) throws Exception {
    String topic = arguments[2];
    long step = 1_000_000_000L / Integer.parseInt(arguments[3]);
    int records = WARM_UP + Integer.parseInt(arguments[4]);
    Properties common = new Properties();
    try (InputStream file = new FileInputStream(arguments[1])) {
      common.load(file);
    }
    common.put("bootstrap.servers", arguments[0]);

    Properties writing = new Properties();
    writing.putAll(common);
    writing.put("acks", "all");
    writing.put("linger.ms", "0");
    Properties reading = new Properties();
    reading.putAll(common);
    reading.put("auto.offset.reset", "earliest");
    reading.put("enable.auto.commit", "false");

    try (var producer = new KafkaProducer<>(writing, new ByteArraySerializer(), new ByteArraySerializer());
        var consumer = new KafkaConsumer<>(reading, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      consumer.assign(List.of(new TopicPartition(topic, 0)));
      // Both ends have spoken once before anything is due.
      producer.send(new ProducerRecord<>(topic, 0, null, value(-1))).get();
      int found = 0;
      for (long end = System.nanoTime() + PATIENCE.toNanos(); found == 0 && System.nanoTime() < end; ) {
        found = consumer.poll(Duration.ofMillis(100)).count();
      }

      long begin = System.nanoTime() + 50_000_000L;
      Thread sender = new Thread(() -> send(producer, topic, begin, step, records));
      sender.start();
      long[] took = receive(consumer, begin, step, records);
      sender.join();
      Arrays.sort(took);
      System.out.printf(Locale.ROOT, "{\"p50\": %.6f, \"p99\": %.6f}%n", at(took, 0.5), at(took, 0.99));
    }
  }

  private static void send(
      KafkaProducer<byte[], byte[]> producer, String topic, long begin, long step, int records) {
    for (int number = 0; number < records; number++) {
      long due = begin + step * number;
      for (long left = due - System.nanoTime(); left > 0; left = due - System.nanoTime()) {
        LockSupport.parkNanos(left);
      }
      producer.send(new ProducerRecord<>(topic, 0, null, value(number)));
    }
    producer.flush();
  }

  private static long[] receive(KafkaConsumer<byte[], byte[]> consumer, long begin, long step, int records) {
    long[] took = new long[records - WARM_UP];
    long end = begin + step * records + PATIENCE.toNanos();
    for (int number = 0; number < records; ) {
      if (System.nanoTime() > end) {
        throw new IllegalStateException("only " + number + " of " + records + " records came");
      }
      for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
        long now = System.nanoTime();
        int told = ByteBuffer.wrap(record.value()).getInt();
        if (told != number) {
          throw new IllegalStateException("record " + told + " came in place of " + number);
        }
        if (number >= WARM_UP) {
          took[number - WARM_UP] = now - (begin + step * number);
        }
        number++;
      }
    }
    return took;
  }

  private static byte[] value(int number) {
    return ByteBuffer.allocate(100).putInt(number).array();
  }

  private static double at(long[] sorted, double quantile) {
    int place = (int) Math.ceil(quantile * sorted.length) - 1;
    return sorted[Math.max(place, 0)] / 1e6;
  }
}
